"""Both trainings start, stop, resume and export, on drawn packs."""

import json
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file

from segzs.models.registry import SAMS
from segzs.models.store import SamFile, file_sha256
from segzs.sam.build import load_sam
from training.packs import Packs

ROOT = Path(__file__).parents[2]


def run(module: str, packs: Packs, *options: str) -> str:
    command = [sys.executable, "-m", module, "--packs", str(packs.root), "--threads", "1", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sam_trains_resumes_and_exports(drawn_packs: Packs, tmp_path: Path) -> None:
    folder, weights = tmp_path / "run", tmp_path / "tiny.safetensors"
    options = ("--out", str(folder), "--batch", "2", "--workers", "0", "--check-scenes", "1")
    first = run("training.sam", drawn_packs, *options, "--minutes", "0.1")
    second = run("training.sam", drawn_packs, *options, "--minutes", "0.16")
    steps = [int(text.split("step ")[1].split()[0]) for text in (first, second)]
    assert 0 < steps[0] < steps[1]
    run("training.sam", drawn_packs, "--out", str(folder), "--export", str(weights))
    model = load_sam(SamFile(SAMS["tiny"], weights, file_sha256(weights)))
    assert model.row.architecture == "tiny"
    assert weights.stat().st_size < 15_000_000
    assert all(
        str(value.dtype) == "torch.float16" for value in load_file(weights).values() if value.is_floating_point()
    )


def test_clip_trains_resumes_and_exports(drawn_packs: Packs, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    options = ("--out", str(folder), "--batch", "4", "--align-steps", "2")
    run("training.clip", drawn_packs, *options, "--minutes", "0.05")
    again = run("training.clip", drawn_packs, *options, "--minutes", "0.1")
    assert "resuming at Progress" in again
    steps = [
        row["evaluation"]
        for row in map(json.loads, (folder / "log.jsonl").read_text().splitlines())
        if "evaluation" in row
    ]
    assert 0 < steps[0] < steps[-1]
