"""load_sam: checkpoints of every architecture are loaded, other files are refused and never executed."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from segzs.checkpoints.locate import locate_sam
from segzs.checkpoints.read import read_weights
from segzs.checkpoints.registry import SAMS
from segzs.errors import ModelError, WeightsError
from segzs.sam.encode import report_blocks
from segzs.sam.model import ARCHITECTURES, SamModel, load_sam
from segzs.sam.networks.mobile import offset_index
from segzs.sam.networks.tiny import build_tiny_sam
from tests.sam.conftest import randomised

IOU_TOKEN = "mask_decoder.iou_token.weight"


def official_weights(architecture: str) -> dict[str, Tensor]:
    """Weights in the official format: each tensor repeats one random number, so that ViT-H fits into a small file."""
    with torch.device("meta"):
        state = ARCHITECTURES[architecture]().state_dict()
    torch.manual_seed(0)
    return {
        key: (torch.randn(()) if tensor.is_floating_point() else torch.tensor(7)).expand(tensor.shape)
        for key, tensor in state.items()
    }


def load(architecture: str, file: Path) -> SamModel:
    return load_sam(locate_sam(f"{architecture}:{file}"))


@pytest.fixture(scope="module")
def vit_b() -> dict[str, Tensor]:
    return official_weights("vit_b")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES.keys() - {"edgetam"}))  # whose convolutions are merged
def test_every_architecture_is_loaded(architecture: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    weights = official_weights(architecture)
    torch.save(weights, file)
    sam = load(architecture, file)
    row = next(row for row in SAMS.values() if row.architecture == architecture)
    loaded = sam.module.state_dict()
    assert loaded.keys() == weights.keys()
    for key, tensor in loaded.items():
        first = (0,) * tensor.ndim
        assert tensor.shape == weights[key].shape
        assert tensor[first] == weights[key][first]
    assert sam.spec == replace(row, name=f"{architecture}:weights.pth", sha256="", url="")
    assert sam.module.side == row.input_size
    assert sam.mask_size == (row.input_size // 4, row.input_size // 4)
    assert not any(module.training for module in sam.module.modules())
    assert not any(parameter.requires_grad for parameter in sam.module.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMS)
def test_the_cost_of_an_image_is_the_registered_one(name: str) -> None:
    row = SAMS[name]
    device = "cpu" if name == "tiny" else "meta"  # the tiny encoder reads its input to find the padding
    with torch.device(device):
        network = ARCHITECTURES[row.architecture]().eval()
    pixels = torch.ones(1, 3, row.input_size, row.input_size, device=device)
    shares: list[float] = []
    with FlopCounterMode(display=False) as counter, torch.inference_mode(), report_blocks(network, shares.append):
        network.image_encoder(pixels)
    assert counter.get_total_flops() / 1e9 == pytest.approx(row.gflop, rel=0.02, abs=0.5)
    assert len(shares) > 5
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_buffers_that_are_not_in_the_checkpoint_are_built(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(official_weights("vit_t"), file)
    module = load("vit_t", file).module
    assert module.pixel_mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert module.pixel_std.flatten().tolist() == pytest.approx([58.395, 57.12, 57.375])
    for stage, window in ((1, 7), (2, 14), (3, 7)):
        assert torch.equal(module.image_encoder.layers[stage].blocks[0].attn.offsets, offset_index(window))


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model_state", "model", None])
@pytest.mark.parametrize("prefix", ["module.", "model.", "sam.", "module.model.", ""])
def test_checkpoints_of_trainings_are_loaded(wrapper: str | None, prefix: str, tmp_path: Path) -> None:
    """As MedSAM, micro-sam, Lightning and DataParallel save them, beside an optimizer's state."""
    weights = {"layer.weight": torch.ones(2, 3), "layer.bias": torch.ones(2)}
    renamed = {f"{prefix}{key}": tensor for key, tensor in weights.items()}
    state = {wrapper: renamed, "optimizer": {"lr": 0.1}, "epoch": 3} if wrapper else renamed
    torch.save(state, tmp_path / "training.pt")
    assert read_weights(tmp_path / "training.pt").keys() == weights.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "nested.pt"])
def test_a_loaded_model_gives_the_masks_of_the_saved_one(name: str, tmp_path: Path) -> None:
    saved = randomised(build_tiny_sam)
    weights = saved.state_dict()
    if name.endswith(".safetensors"):
        save_file(weights, tmp_path / name)
    else:
        torch.save({"state_dict": weights, "epoch": 3} if name == "nested.pt" else weights, tmp_path / name)
    loaded = load("tiny", tmp_path / name).module
    pixels = torch.randn(1, 3, 768, 768)
    with torch.inference_mode():
        assert torch.equal(loaded.image_encoder(pixels), saved.image_encoder(pixels))
        assert torch.equal(loaded.prompt_encoder.get_dense_pe(), saved.prompt_encoder.get_dense_pe())


def test_half_precision_is_loaded_as_float32(tmp_path: Path) -> None:
    weights = randomised(build_tiny_sam).state_dict()
    halves = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in weights.items()}
    torch.save(halves, tmp_path / "half.pth")
    loaded = load("tiny", tmp_path / "half.pth").module.state_dict()
    assert {tensor.dtype for tensor in loaded.values()} == {torch.float32, torch.int64}
    assert all(torch.equal(tensor, halves[key].to(tensor.dtype)) for key, tensor in loaded.items())


def test_loaded_weights_do_not_change_with_their_file(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(randomised(build_tiny_sam).state_dict(), file)
    module = load("tiny", file).module
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2)
        stream.write(bytes(1_000_000))
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())


def test_models_built_meanwhile_are_initialised_as_usual(tmp_path: Path, vit_b: dict[str, Tensor]) -> None:
    torch.save(vit_b, tmp_path / "weights.pth")
    load("vit_b", tmp_path / "weights.pth")
    assert torch.nn.Linear(100, 100).weight.std() > 0.01


def without(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in weights.items() if key != IOU_TOKEN}


def extended(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**weights, "mask_decoder.hq_token": torch.zeros(3)}


def reshaped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**weights, IOU_TOKEN: torch.zeros(1, 128)}


def diverged(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**weights, IOU_TOKEN: torch.full((1, 256), torch.nan)}


def high_quality(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As HQ-SAM adds weights to those of SAM."""
    return {**weights, "mask_decoder.hf_token.weight": torch.zeros(1, 256)}


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (without, r"1 missing \(mask_decoder.iou_token.weight\)"),
        (extended, r"1 unknown \(mask_decoder.hq_token\)"),
        (reshaped, r"1 of another shape \(mask_decoder.iou_token.weight\)"),
        (diverged, r"1 weights are NaN or infinite \(mask_decoder.iou_token.weight\), .* take an earlier checkpoint"),
        (high_quality, "the file is an HQ-SAM, which segzs does not build"),
        (lambda _: {}, "314 missing"),
        (lambda weights: {"weights": weights}, "not a state dict"),
        (lambda weights: list(weights.values()), "contains a list"),
        (lambda weights: dict(enumerate(weights.values())), "not a state dict"),
        (lambda weights: {**weights, "epoch": 3}, "not a state dict"),
    ],
)
def test_other_contents_are_refused(
    spoil: Callable[[dict[str, Tensor]], object], complaint: str, tmp_path: Path, vit_b: dict[str, Tensor]
) -> None:
    file = tmp_path / "spoiled.pth"
    torch.save(spoil(vit_b), file)
    with pytest.raises(WeightsError, match=complaint) as caught:
        load("vit_b", file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("architecture", ["vit_l", "vit_h", "vit_t", "tiny"])
def test_weights_of_another_architecture_are_refused(
    architecture: str, tmp_path: Path, vit_b: dict[str, Tensor]
) -> None:
    torch.save(vit_b, tmp_path / "sam_vit_b.pth")
    with pytest.raises(WeightsError, match=rf"sam_vit_b.pth as {architecture}: the weights do not fit"):
        load(architecture, tmp_path / "sam_vit_b.pth")


class Attack:
    """Unpickled, it would write a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.filterwarnings("ignore:Detected pickle")
@pytest.mark.parametrize("form", ["archive", "old archive", "pickle", "pickle 2", "weights.safetensors"])
def test_code_in_a_checkpoint_is_not_executed(form: str, tmp_path: Path, vit_b: dict[str, Tensor]) -> None:
    file, trace = tmp_path / "evil.pth", tmp_path / "executed"
    contents = {**vit_b, "more": Attack(trace)}
    match form:
        case "archive":
            torch.save(contents, file)
        case "old archive":
            torch.save(contents, file, _use_new_zipfile_serialization=False)
        case "pickle":
            file.write_bytes(pickle.dumps(Attack(trace)))
        case "pickle 2":
            file.write_bytes(pickle.dumps(Attack(trace), protocol=2))
        case _:
            file = tmp_path / form
            torch.save(contents, file)
    with pytest.raises(WeightsError) as caught:
        load("vit_b", file)
    assert not trace.exists()
    assert str(file) in str(caught.value)
    assert "weights_only" not in str(caught.value)
    if form == "archive":
        assert f"it contains {os.system.__module__}.system" in str(caught.value)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def text(file: Path) -> None:
    file.write_text("<html>404: not found</html>")


def noise(file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 100)


def truncated(file: Path) -> None:
    torch.save({"weight": torch.ones(1000)}, file)
    file.write_bytes(file.read_bytes()[:2000])


def archive(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as stream:
        stream.writestr("readme.txt", "no weights here")


def script(file: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)


def whole_module(file: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), file)


def damaged_safetensors(file: Path) -> None:
    save_file({"weight": torch.ones(1000)}, file)
    file.write_bytes(file.read_bytes()[:2000])


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize(
    "write",
    [empty, text, noise, truncated, archive, script, whole_module, damaged_safetensors],
    ids=lambda f: f.__name__,
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:'torch.load' received", "ignore:Detected pickle")
def test_files_of_other_kinds_are_refused(write: Callable[[Path], None], suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"strange{suffix}"
    write(file)
    with pytest.raises(WeightsError, match=r"not a (readable )?checkpoint") as caught:
        load("vit_b", file)
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(file))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:'torch.load' received")
def test_errors_name_a_remedy(tmp_path: Path) -> None:
    script(tmp_path / "script.pt")
    with pytest.raises(WeightsError, match=r"TorchScript program; save its state_dict\(\)"):
        load("vit_b", tmp_path / "script.pt")
    whole_module(tmp_path / "module.pt")
    with pytest.raises(
        WeightsError, match=r"it contains torch.nn.modules.linear.Linear, .* save only the state_dict\(\)"
    ):
        load("vit_b", tmp_path / "module.pt")


def test_a_file_with_another_hash_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vit_b: dict[str, Tensor]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "checkpoints" / SAMS["vit_b"].file
    file.parent.mkdir()
    torch.save(vit_b, file)
    with pytest.raises(WeightsError, match=r"SHA-256 .* but vit_b has ec2df62732614e57.*segzs fetch vit_b"):
        locate_sam("vit_b")


def test_errors_about_missing_files_name_the_command_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="segzs fetch vit_h"):
        locate_sam("vit_h")
    with pytest.raises(ModelError, match=r"no such file: nowhere.pth"):
        locate_sam("vit_b:nowhere.pth")
    with pytest.raises(ModelError, match=r"vit_x.*choose from edgetam, .*, tiny, vit_b, vit_h, vit_l, vit_t"):
        locate_sam("vit_x:weights.pth")
    with pytest.raises(ModelError, match="unknown SAM 'sam2'; choose from tiny, mobile, vit_b"):
        locate_sam("sam2")
