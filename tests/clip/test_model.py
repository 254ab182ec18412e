"""Files that are not a CLIP, or another CLIP, are refused with an error that says why."""

from __future__ import annotations

import gc
import json
import os
import pickle
import weakref
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from segzs.checkpoints.locate import locate_clip
from segzs.clip.model import ROWS, VALUES, ClipModel, load_clip
from segzs.clip.text_features import general_features
from segzs.errors import ModelError, WeightsError
from segzs.settings import embedded_folder
from tests.clip.conftest import PLAIN_MODEL, random_clip, save_clip

WEIGHTS = "open_clip_model.safetensors"


def load(spec: object) -> ClipModel:
    return load_clip(locate_clip(str(spec)))


def without(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    del weights["ln_final.bias"]
    save_file(weights, folder / WEIGHTS)


def extended(folder: Path) -> None:
    save_file({**load_file(folder / WEIGHTS), "extra.bias": torch.zeros(3)}, folder / WEIGHTS)


def reshaped(folder: Path) -> None:
    save_file({**load_file(folder / WEIGHTS), "ln_final.bias": torch.zeros(33)}, folder / WEIGHTS)


def nothing(folder: Path) -> None:
    save_file({}, folder / WEIGHTS)


def truncated(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:5000])


def text(folder: Path) -> None:
    (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1")


def rows_without_values(folder: Path) -> None:
    save_file({**load_file(folder / WEIGHTS), ROWS: torch.zeros(3)}, folder / WEIGHTS)


def rows_beyond_the_table(folder: Path) -> None:
    weights = {**load_file(folder / WEIGHTS), ROWS: torch.tensor([10**6]), VALUES: torch.zeros(1, 32)}
    save_file(weights, folder / WEIGHTS)


def other_width(folder: Path) -> None:
    save_clip(folder, {**PLAIN_MODEL, "embed_dim": 48}, {}, load_file(folder / WEIGHTS))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (without, "do not fit: .*ln_final.bias"),
        (extended, "do not fit: .*extra.bias"),
        (reshaped, "do not fit: .*ln_final.bias"),
        (nothing, "do not fit"),
        (truncated, "not a readable checkpoint"),
        (text, "not a readable checkpoint"),
        (rows_without_values, "do not fit"),
        (rows_beyond_the_table, "do not fit"),
        (other_width, "do not fit: .*text_projection"),
    ],
)
def test_weights_of_another_model_are_refused(spoil: Callable[[Path], None], complaint: str, tmp_path: Path) -> None:
    folder = random_clip(tmp_path / "clip")
    spoil(folder)
    with pytest.raises(WeightsError, match=complaint) as caught:
        load(folder)
    assert str(folder / WEIGHTS) in str(caught.value)
    assert len(str(caught.value)) < 500 + 2 * len(str(folder))


class Attack:
    """Unpickled, it would write a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.filterwarnings("ignore:Detected pickle")
@pytest.mark.parametrize("archive", [True, False])
def test_code_in_a_checkpoint_is_not_executed(archive: bool, tmp_path: Path) -> None:
    folder = random_clip(tmp_path / "clip")
    contents = {**load_file(folder / WEIGHTS), "more": Attack(tmp_path / "executed")}
    (folder / WEIGHTS).unlink()
    file = folder / "open_clip_pytorch_model.bin"
    if archive:
        torch.save(contents, file)
    else:
        file.write_bytes(pickle.dumps(contents["more"]))
    with pytest.raises(WeightsError, match="not a checkpoint of tensors"):
        load(folder)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("not json", "not a configuration"),
        ("[]", "has no model_cfg"),
        ("{}", "has no model_cfg"),
        (json.dumps({"model_cfg": {"embed_dim": 32}}), "open_clip cannot build"),
        (json.dumps({"model_cfg": {**PLAIN_MODEL, "flux": 1}}), "open_clip cannot build .*flux"),
        (
            json.dumps({"model_cfg": {**PLAIN_MODEL, "vision_cfg": {"timm_model_name": "nonet_1", "image_size": 32}}}),
            "open_clip cannot build .*nonet_1",
        ),
    ],
)
def test_wrong_configurations_are_refused(config: str, complaint: str, tmp_path: Path) -> None:
    folder = random_clip(tmp_path / "clip")
    (folder / "open_clip_config.json").write_text(config)
    with pytest.raises(WeightsError, match=complaint):
        load(folder)


def test_incomplete_folders_and_unknown_names_are_refused(tmp_path: Path) -> None:
    folder = random_clip(tmp_path / "clip")
    (folder / WEIGHTS).rename(tmp_path / "alone.safetensors")
    with pytest.raises(WeightsError, match=f"none of {WEIGHTS}"):
        load(folder)
    with pytest.raises(WeightsError, match=r"alone.safetensors needs its open_clip configuration .* as alone.json"):
        load(tmp_path / "alone.safetensors")
    (folder / "open_clip_config.json").unlink()
    with pytest.raises(WeightsError, match=r"has no open_clip_config.json"):
        load(folder)
    with pytest.raises(ModelError, match="unknown architecture 'ViT-Z'"):
        load(f"ViT-Z:{tmp_path / 'alone.safetensors'}")
    with pytest.raises(ModelError, match=r"unknown CLIP 'ViT-B-32:mine'; choose a tag from .*openai"):
        load("ViT-B-32:mine")
    with pytest.raises(ModelError, match="segzs fetch ViT-B-32:openai"):
        load("ViT-B-32:openai")


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    folder = random_clip(tmp_path / "clip")
    with pytest.raises(WeightsError, match=r"as RN50:.*do not fit"):
        load(f"RN50:{folder / WEIGHTS}")


@pytest.mark.skipif(find_spec("transformers") is not None, reason="transformers is installed")
def test_a_missing_tokenizer_is_not_downloaded(tmp_path: Path) -> None:
    """A tokenizer of transformers needs the package; the error says what to install."""
    model = {**PLAIN_MODEL, "text_cfg": {**PLAIN_MODEL["text_cfg"], "hf_tokenizer_name": "timm/ViT-B-16-SigLIP"}}
    folder = random_clip(tmp_path / "clip")
    save_clip(folder, model, {}, load_file(folder / WEIGHTS))
    with pytest.raises(ModelError, match=r"the tokenizer of .* is not in "):
        load(folder)
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"pip install 'segzs\[siglip\]'|is not in"):
        load(folder)


def test_a_loaded_model_is_frozen_and_has_a_digest(clip: ClipModel, tmp_path: Path) -> None:
    assert not any(module.training for module in clip.module.modules())
    assert not any(parameter.requires_grad for parameter in clip.module.parameters())
    folder = random_clip(tmp_path / "clip")
    first = load(folder)
    without_weights = load_file(folder / WEIGHTS)
    without_weights["ln_final.bias"] += 1
    save_file(without_weights, folder / WEIGHTS)
    second = load(folder)
    assert len({clip.digest, first.digest, second.digest}) == 3
    assert first.logit_scale == pytest.approx(20)
    assert first.known_tokens is None


def test_a_deleted_model_is_freed(tmp_path: Path) -> None:
    model = load_clip(locate_clip(str(random_clip(tmp_path / "clip"))))
    assert general_features(model) is general_features(model)
    gone = weakref.ref(model.module)
    del model
    gc.collect()
    assert gone() is None


def test_the_embedded_pair_fits_its_size() -> None:
    for name, megabytes in (("tiny_sam.safetensors", 16), ("tiny_clip.safetensors", 20)):
        assert (embedded_folder() / name).stat().st_size <= megabytes * 1e6
