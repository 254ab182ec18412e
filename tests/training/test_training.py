"""The training of the tiny SAM starts, stops, resumes and exports, on drawn packs."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import training.maps
import training.sam
from segzs.checkpoints.locate import SamFile, file_sha256
from segzs.checkpoints.registry import SAMS
from segzs.sam.model import load_sam
from segzs.sam.networks.tiny import build_tiny_sam
from training.batches import MODES, SceneBatches
from training.learner import Learner
from training.packs import Packs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(module: str, packs: Packs, *options: str) -> str:
    command = [sys.executable, "-m", module, "--packs", str(packs.root), "--threads", "1", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sam_trains_resumes_and_exports(drawn_packs: Packs, tmp_path: Path) -> None:
    folder, weights = tmp_path / "run", tmp_path / "tiny.safetensors"
    options = ("--out", str(folder), "--batch", "1", "--workers", "0", "--check-pictures", "1")
    first = run("training.sam", drawn_packs, *options, "--minutes", "0.02")
    second = run("training.sam", drawn_packs, *options, "--minutes", "0.2")
    steps = [int(text.split("step ")[1].split()[0]) for text in (first, second)]
    assert 0 < steps[0] < steps[1]
    run("training.sam", drawn_packs, "--out", str(folder), "--export", str(weights))
    model = load_sam(SamFile(SAMS["tiny"], weights, file_sha256(weights)))
    assert model.spec.architecture == "tiny"
    assert weights.stat().st_size < 16_000_000
    assert all(
        str(value.dtype) == "torch.float16" for value in load_file(weights).values() if value.is_floating_point()
    )


def test_frozen_layers_stay_and_the_others_learn(drawn_packs: Packs, tmp_path: Path) -> None:
    folder, start = tmp_path / "run", tmp_path / "start.safetensors"
    weights = build_tiny_sam(64).state_dict()
    save_file(weights, start)
    options = ("--out", str(folder), "--batch", "1", "--workers", "0", "--check-pictures", "1")
    run("training.sam", drawn_packs, *options, "--minutes", "0.02", "--warm-start", str(start))
    learnt = torch.load(folder / "checkpoint.pt", weights_only=True)["learner"]
    same = {name for name, weight in weights.items() if torch.equal(learnt[f"sam.{name}"], weight)}
    backbone = "image_encoder.backbone.network"
    assert {f"{backbone}.conv_stem.weight", f"{backbone}.blocks.5.0.conv_dw.weight"} <= same
    assert not {f"{backbone}.blocks.5.0.conv_pw.weight", "point_head.fine.weight"} & same
    assert {name for name in weights if "running_" in name} <= same


def test_a_run_starts_from_the_mean_of_several(drawn_packs: Packs, tmp_path: Path) -> None:
    runs = [build_tiny_sam(64).state_dict() for _ in range(2)]
    files = [tmp_path / f"{number}.safetensors" for number in range(2)]
    for weights, file in zip(runs, files, strict=True):
        save_file(weights, file)
    options = ("--out", str(tmp_path), "--minutes", "0.0001", "--workers", "0", "--check-pictures", "1")
    run("training.sam", drawn_packs, *options, "--warm-start", *map(str, files))
    started = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["average"]
    name = "mask_decoder.refine_4.0.weight"
    torch.testing.assert_close(started[name], (runs[0][name] + runs[1][name]) / 2)
    run("training.sam", drawn_packs, "--warm-start", *map(str, files), "--export", str(tmp_path / "mean.safetensors"))
    torch.testing.assert_close(load_file(tmp_path / "mean.safetensors")[name], started[name].half())


@pytest.mark.parametrize("mode", MODES)
def test_every_kind_of_second_prompt_teaches(drawn_packs: Packs, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.batches.MODES", {mode: 1.0})
    torch.manual_seed(0)
    learner = Learner(torch.float32)
    batch = next(iter(SceneBatches(drawn_packs, {128: 1.0}, 0.2, (0,))))
    values = learner(batch)
    values["loss"].backward()
    assert 0 <= float(values[mode]) <= 1
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in learner.parameters())
    assert learner.sam.image_encoder.lateral_16.weight.grad.any()


def test_untrained_cheap_masks_teach_only_their_head(drawn_packs: Packs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.batches.MODES", {"points": 1.0})
    monkeypatch.setattr("training.learner.SECOND_WEIGHT", 0.0)
    learner = Learner(torch.float32)
    batch = next(iter(SceneBatches(drawn_packs, {128: 1.0}, 0.2, (0,))))
    gradients = []
    for weight in (0.0, 1.0):
        monkeypatch.setattr("training.learner.POINT_WEIGHT", weight)
        torch.manual_seed(0)
        learner.zero_grad()
        learner(batch, points_alone=True)["loss"].backward()
        gradients.append(learner.sam.image_encoder.lateral_16.weight.grad)
    assert torch.equal(*gradients)
    assert learner.sam.point_head.fine.weight.grad.any()


@pytest.mark.parametrize("option", ["--out", "--export"])
@pytest.mark.parametrize("weights", [{"weight": torch.zeros(3)}, {}], ids=["others", "none"])
def test_a_warm_start_from_something_else_is_refused(
    weights: dict[str, torch.Tensor],
    option: str,
    drawn_packs: Packs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = tmp_path / "other.safetensors"
    save_file(weights, start)
    options = ["--packs", str(drawn_packs.root), "--warm-start", str(start), option, str(tmp_path / "there")]
    monkeypatch.setattr("sys.argv", ["training.sam", *options])
    with pytest.raises(SystemExit, match="not the tiny SAM's weights"):
        training.sam.main()


def test_maps_are_measured(drawn_packs: Packs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("sys.argv", ["training.maps", "--packs", str(drawn_packs.root), "--scenes", "1"])
    training.maps.main()
    printed = capsys.readouterr().out
    for row in (
        "mean IoU: masks, then dense features",
        "mean IoU: dense features alone",
        "everything, merged: precision",
    ):
        assert f"| {row}" in printed
