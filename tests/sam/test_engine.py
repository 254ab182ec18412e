"""OpenVINO answers as torch on the same weights, converts once, and is done without where it cannot be had."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import segzs
from segzs.image import Image
from segzs.masks import iou
from segzs.prompts import Prompt
from segzs.sam import engine
from segzs.sam.build import SamModel
from segzs.sam.decode import decode
from segzs.sam.encode import encode
from segzs.sam.engine import CompiledEncoder, EngineWarning, compiled
from tests.conftest import read_scene
from tests.sam.conftest import Pair

ROOT = Path(segzs.__file__).parents[1]
PROMPTS = [
    Prompt.point(92, 500),
    Prompt.box(258, 45, 502, 258),
    Prompt([(640, 460), (600, 330)], [True, False], (520, 250, 760, 570)),
    *(Prompt.point(x, 300) for x in range(50, 750, 140)),
]


def needs_openvino() -> None:
    """Skip without importing it, which would switch its telemetry on."""
    if find_spec("openvino") is None:
        pytest.skip("the extra segzs[openvino] is not installed")


@pytest.fixture(scope="session")
def graphs(tiny: SamModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the embedded SAM, converted."""
    needs_openvino()
    folder = tmp_path_factory.mktemp("graphs")
    compiled(tiny, torch.float32, folder, quiet=True)
    return folder


@pytest.fixture
def converted(graphs: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Conversions from here on are quick and noted."""
    (place,) = (path for path in graphs.iterdir() if path.is_dir())
    noted: list[str] = []

    def quick(sam: SamModel, quiet: bool) -> list[Any]:
        noted.append(sam.row.name)
        return [engine._core().read_model(place / f"{part}.xml") for part in engine.PARTS]

    monkeypatch.setattr(engine, "_converted", quick)
    return noted


def test_float32_is_torch(tiny: SamModel, graphs: Path, desk: Image) -> None:
    ours = compiled(tiny, torch.float32, graphs)
    assert isinstance(ours.module.image_encoder, CompiledEncoder)
    expected, found = encode(tiny, desk), encode(ours, desk)
    torch.testing.assert_close(found.features, expected.features, rtol=1e-3, atol=1e-4)
    prompts = [*PROMPTS, Prompt(mask=np.zeros(tiny.mask_size)), *refinements(tiny, desk)]
    for mine, theirs in zip(decode(ours, found, prompts), decode(tiny, expected, prompts), strict=True):
        assert iou(mine.rles, theirs.rles)[0, 0] > 0.999
        np.testing.assert_allclose(mine.predicted_iou, theirs.predicted_iou, atol=1e-3)


def refinements(sam: SamModel, image: Image) -> list[Prompt]:
    """Two prompts with different earlier masks, which go into one batch."""
    first = decode(sam, encode(sam, image), PROMPTS[:2])
    return [Prompt([(92, 500)], mask=masks.low_res_logits[0]) for masks in first]


def test_bfloat16_gives_the_masks_of_float32(tiny: SamModel, graphs: Path, desk: Image) -> None:
    halved = compiled(tiny, torch.bfloat16, graphs)
    assert halved.dtype == torch.bfloat16
    prompts = [Prompt.box(*mask.box) for mask in read_scene("desk").masks]
    pairs = zip(decode(tiny, encode(tiny, desk), prompts), decode(halved, encode(halved, desk), prompts), strict=True)
    assert np.mean([iou(ours.rles, theirs.rles)[0, 0] for theirs, ours in pairs]) >= 0.99


def test_windows_and_relative_positions(small_pair: Pair) -> None:
    """Meta's architecture: attention in parts is one graph, and so is its decoder."""
    needs_openvino()
    ours = compiled(small_pair.sam, torch.float32, quiet=True)
    assert isinstance(ours.module.image_encoder, CompiledEncoder)
    encoded = encode(ours, small_pair.encoded.image)
    torch.testing.assert_close(encoded.features, small_pair.encoded.features, rtol=1e-3, atol=1e-4)
    prompts = [Prompt.point(50 + 20 * number, 100) for number in range(6)]
    for mine, theirs in zip(
        decode(ours, encoded, prompts), decode(small_pair.sam, small_pair.encoded, prompts), strict=True
    ):
        np.testing.assert_allclose(mine.low_res_logits, theirs.low_res_logits, rtol=1e-2, atol=1e-3)


def test_threads_do_not_meet(tiny: SamModel, graphs: Path, desk: Image) -> None:
    ours = compiled(tiny, torch.float32, graphs)
    encoded = encode(ours, desk)
    alone = [decode(ours, encoded, [prompt])[0] for prompt in PROMPTS]
    together: dict[int, bool] = {}

    def ask(number: int) -> None:
        together[number] = decode(ours, encoded, [PROMPTS[number]])[0].rles == alone[number].rles

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(PROMPTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == dict.fromkeys(range(len(PROMPTS)), True)


def test_it_is_converted_once(tiny: SamModel, graphs: Path, converted: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        compiled(tiny, torch.float32, tmp_path)
    assert converted == ["tiny"]
    compiled(replace(tiny, digest="other"), torch.float32, tmp_path)
    assert converted == ["tiny", "tiny"]
    assert not list(tmp_path.glob("*.part"))


def test_who_comes_meanwhile_waits(tiny: SamModel, converted: list[str], tmp_path: Path) -> None:
    threads = [threading.Thread(target=compiled, args=(tiny, torch.float32, tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert converted == ["tiny"]


def cut_short(place: Path) -> None:
    (place / "encoder.bin").write_bytes((place / "encoder.bin").read_bytes()[:-100])


def changed(place: Path) -> None:
    (place / "decoder.xml").write_text((place / "decoder.xml").read_text() + " ")


def left_half_written(place: Path) -> None:
    place.rename(place.with_name(f"{place.name}.part"))


def without_sums(place: Path) -> None:
    (place / engine.SUMS).write_text("{")


@pytest.mark.parametrize("damage", [cut_short, changed, left_half_written, without_sums])
def test_what_is_damaged_is_converted_again(
    damage: Callable[[Path], None], tiny: SamModel, converted: list[str], tmp_path: Path
) -> None:
    compiled(tiny, torch.float32, tmp_path)
    (place,) = (path for path in tmp_path.iterdir() if path.is_dir())
    damage(place)
    assert isinstance(compiled(tiny, torch.float32, tmp_path).module.image_encoder, CompiledEncoder)
    assert engine._intact(place)
    assert converted == ["tiny", "tiny"]


def test_a_folder_that_cannot_be_written_to(tiny: SamModel, converted: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(EngineWarning, match="cannot be kept in"):
        ours = compiled(tiny, torch.float32, tmp_path / "file" / "folder")
    assert isinstance(ours.module.image_encoder, CompiledEncoder)


def test_without_openvino_torch_computes_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.warns(EngineWarning, match=r"computed by torch, .*not installed.*segzs\[openvino\]"):
        segmenter = segzs.load(engine="openvino", device="cpu", dtype="bfloat16", labels=["apple"])
    assert segmenter.sam.dtype == next(segmenter.sam.module.image_encoder.parameters()).dtype == torch.bfloat16
    assert not (tmp_path / "cache" / "openvino").exists()


def test_a_conversion_that_fails_leaves_it_to_torch(
    tiny: SamModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needs_openvino()

    def fail(*_: object) -> None:
        raise RuntimeError("no rule for aten::new\nmore")

    monkeypatch.setattr(engine, "_converted", fail)
    with pytest.warns(EngineWarning, match="not by openvino: no rule for aten::new$"):
        assert compiled(tiny, torch.float32, tmp_path).module is tiny.module


def test_the_engine_is_an_argument_or_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def noting(sam: SamModel, *_: object, quiet: bool) -> SamModel:
        asked.append(quiet)
        return sam

    monkeypatch.setattr("segzs.loading.compiled", noting)
    monkeypatch.setenv("SEGZS_ENGINE", "openvino")
    segzs.load(device="cpu", labels=["apple"], quiet=True)
    segzs.load(device="cpu", labels=["apple"], engine="torch")
    assert asked == [True]
    with pytest.raises(segzs.ModelError, match=r"no engine 'steam', .*there are torch, openvino"):
        segzs.load(engine="steam")


def test_nothing_is_told_to_anyone() -> None:
    """OpenVINO reports its imports over the network, where its telemetry package is installed."""
    needs_openvino()
    code = (
        "from segzs.sam.engine import _openvino; import sys; _openvino();"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry') and sys.modules[name]])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
