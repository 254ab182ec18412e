"""The command line: options, stdout and stderr, exit statuses, and files; all offline."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from pycocotools.coco import COCO

import segzs
from segzs import Prompt, SegzsError, settings
from segzs.cli.label import parse_prompts
from segzs.cli.parser import build_parser
from tests.cli.conftest import Run


@pytest.fixture
def label(run: Run, segmenter: segzs.Segmenter, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``segzs label`` with models that are already loaded."""
    monkeypatch.setattr(segzs, "load", lambda *_, **__: segmenter)
    few = ("--points-per-side", "2")
    return lambda *arguments: run("label", *(() if {"--point", "--box"} & set(arguments) else few), *arguments)


@pytest.fixture
def drawings(tmp_path: Path, scene) -> list[Path]:
    """Two images of the same name in different folders, and a smaller third one."""
    paths = [tmp_path / "a" / "1.png", tmp_path / "b" / "1.png", tmp_path / "small.png"]
    for path, name in zip(paths, ("desk", "picnic", "toolbox"), strict=True):
        path.parent.mkdir(exist_ok=True)
        with PIL.Image.open(scene(name).path) as image:
            image.resize((200, 150) if name == "toolbox" else image.size).save(path)
    return paths


# Options -> prompts


def prompts(*options: str) -> list[Prompt]:
    return parse_prompts(build_parser().parse_args(["label", "x.png", *options]).objects)


def test_points_and_a_box_given_together_are_one_object() -> None:
    assert prompts("--point", "420,310", "--point", "80.5,90,-", "--box", "1,2,30,40", "--point", "5,6,+") == [
        Prompt([(420, 310), (80.5, 90), (5, 6)], [True, False, True], (1, 2, 30, 40))
    ]


def test_object_starts_another_object() -> None:
    two = [Prompt.box(10, 10, 90, 90), Prompt.point(420, 310)]
    assert prompts("--box", "10,10,90,90", "--object", "--point", "420,310") == two
    assert prompts("--object", "--box", "10,10,90,90", "--object", "--point", "420,310") == two


def test_parsers_share_no_prompts() -> None:
    assert prompts("--point", "1,2") == [Prompt.point(1, 2)]
    assert prompts() == []
    assert prompts("--point", "3,4") == [Prompt.point(3, 4)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--box", "1,2,3,4", "--box", "5,6,7,8"], "--object between them"),
        (["--point", "1,2", "--object"], "--object needs"),
        (["--object", "--object", "--point", "1,2"], "--object needs"),
        (["--point", "1,2,-"], "the prompt is empty"),
        (["--box", "9,9,1,1"], "empty"),
        (["--point", "nan,1"], "finite"),
    ],
)
def test_options_without_an_object(options: list[str], says: str, run: Run) -> None:
    with pytest.raises(SegzsError, match=says):
        prompts(*options)
    code, out, err = run("label", "x.png", *options)
    assert (code, out) == (2, "")
    assert says in err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["paint", "x.png"],
        ["label"],
        ["fetch"],
        ["label", "x.png", "--point", "1"],
        ["label", "x.png", "--point", "1,2,3"],
        ["label", "x.png", "--point", "a,b"],
        ["label", "x.png", "--box", "1,2,3"],
        ["label", "x.png", "--unknown", "maybe"],
        ["label", "x.png", "--points-per-side", "0"],
        ["label", "x.png", "--max-masks", "-1"],
        ["label", "x.png", "--predicted-iou-threshold", "5"],
        ["label", "x.png", "--stability-score-threshold", "nan"],
        ["label", "x.png", "--min-area", "-1"],
        ["label", "x.png", "--points-per-side", "5000"],
        ["label", "x.png", "--point", "1,2", "--min-area", "50"],
        ["label", "x.png", "--labels", "cat,unknown"],
        ["label", "x.png", "--background", "pink"],
        ["label", "x.png", "--margin", "-1"],
        ["label", "x.png", "--map", "instance"],
        ["label", "x.png", "--point", "1,2", "--merge"],
        ["label", "x.png", "--regions", "poold"],
        ["label", "x.png", "--point", "1,2", "--everything"],
        ["label", "x.png", "--model", "nope"],
        ["label", "x.png", "--tiles", "99"],
        ["label", "x.png", "--no-such-option"],
    ],
)
def test_wrong_use_has_status_2_and_a_message_on_stderr(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "error" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_map_is_an_indexed_png_with_its_labels_and_an_overlay(
    label: Run, drawings: list[Path], tmp_path: Path
) -> None:
    code, table, _ = label(drawings[0], "--box", "258,45,502,258", "--map", "semantic", "--out", tmp_path / "out")
    assert code == 0
    assert table.split()[:3] == ["#", "label", "share"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "1.map.json",
        "1.map.overlay.png",
        "1.map.png",
    ]
    laptop = {row["name"]: row for row in json.loads((tmp_path / "out/1.map.json").read_text())["labels"]}["laptop"]
    with PIL.Image.open(tmp_path / "out/1.map.png") as image:
        share = float((np.asarray(image) == laptop["id"]).mean())
    assert share == pytest.approx(laptop["share"], abs=1e-6)


@pytest.mark.slow
def test_a_panoptic_map_is_segments_without_overlap(label: Run, drawings: list[Path], tmp_path: Path) -> None:
    code, out, _ = label(drawings[0], "--map", "panoptic", "--json")
    assert code == 0
    row = json.loads(out)
    assert sum(segment["area"] for segment in row["segments"]) <= row["image"]["width"] * row["image"]["height"]


def test_a_map_of_a_directory_is_refused(label: Run, drawings: list[Path], tmp_path: Path) -> None:
    code, _, err = label(drawings[0].parent, "--map", "semantic", "--out", tmp_path / "out")
    assert code == 2
    assert "--map cannot be used with a directory, only with image files" in err


def test_help_and_version_go_to_stdout(run: Run) -> None:
    code, out, err = run("label", "--help")
    assert (code, err) == (0, "")
    assert "examples:" in out
    assert "exit status:" in out
    assert run("--version") == (0, f"segzs {segzs.__version__}\n", "")


# Labelling


@pytest.mark.slow
def test_a_table_on_stdout_and_messages_on_stderr(run: Run, scene) -> None:
    code, out, err = run("label", scene("desk").path, "--point", "380,150", "--object", "--box", "18,21,220,224")
    assert code == 0
    header, *rows = out.splitlines()
    assert header.startswith("#  name")
    assert [row.split()[0] for row in rows] == ["0", "1"]
    assert "desk.png: segmenting" in err
    quiet = run("label", scene("desk").path, "--point", "380,150", "--object", "--box", "18,21,220,224", "--quiet")
    assert quiet[:2] == (0, out)
    assert quiet[2] == ""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::segzs.UnfamiliarWarning")
def test_json_is_one_line_per_image(label: Run, drawings: list[Path], segmenter: segzs.Segmenter) -> None:
    code, out, _ = label(*drawings, "--box", "20,20,90,90", "--json")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["file"] for row in rows] == [str(path) for path in drawings]
    for row, path in zip(rows, drawings, strict=True):
        expected = segmenter.segment(segmenter.encode(path), [Prompt.box(20, 20, 90, 90)])
        assert row == {"file": str(path), **json.loads(expected.to_json())}


def test_everything_is_the_default_without_prompts(label: Run, drawings: list[Path]) -> None:
    code, implied, _ = label(drawings[0])
    assert code == 0
    assert label(drawings[0], "--everything")[:2] == (0, implied)
    assert implied.startswith(("#", "no objects found"))


def test_several_tables_have_titles(label: Run, drawings: list[Path]) -> None:
    code, out, _ = label(*drawings, "--point", "40,40")
    assert code == 0
    assert [line for line in out.splitlines() if line.endswith(".png")] == [str(path) for path in drawings]


def test_an_image_that_the_prompt_does_not_fit_fails_alone(label: Run, drawings: list[Path]) -> None:
    code, out, err = label(*drawings, "--point", "500,400", "--json")
    assert code == 1
    assert [json.loads(line)["file"] for line in out.splitlines()] == [str(path) for path in drawings[:2]]
    assert "small.png: the point (500, 400) is outside the image of 200x150 pixels" in err
    assert "1 of 3 images failed" in err


def test_images_that_cannot_be_read_fail_alone(label: Run, drawings: list[Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("words")
    broken = tmp_path / "broken.png"
    broken.write_bytes(drawings[0].read_bytes()[:9000])
    wrong = [tmp_path / "nowhere.png", tmp_path, tmp_path / "notes.txt", broken]
    code, out, err = label(*wrong, drawings[2], "--point", "40,40", "--json", "--out", tmp_path / "out")
    assert code == 1
    assert len(out.splitlines()) == 1
    assert all(f"error: {path}" in err for path in wrong)
    assert "no such file" in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "small.coco.json",
        "small.overlay.png",
        "small.segzs.json",
    ]


def test_a_single_missing_image(label: Run, tmp_path: Path) -> None:
    code, out, err = label(tmp_path / "nowhere.png")
    assert (code, out) == (1, "")
    assert "no such file" in err
    assert "Traceback" not in err


def test_out_holds_an_overlay_and_both_json_files(label: Run, drawings: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    code, table, err = label(drawings[0], "--box", "18,21,220,224", "--out", out)
    assert code == 0
    with PIL.Image.open(out / "1.overlay.png") as overlay:
        assert overlay.size == (768, 576)
    (row,) = json.loads((out / "1.segzs.json").read_text("utf-8"))["segments"]
    assert ",".join(map(str, row["box"])) in table
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(out / "1.coco.json"))
    assert coco.loadImgs([1])[0]["file_name"] == "1.png"
    assert coco.loadAnns([1])[0]["area"] == row["area"]
    assert "1.overlay.png" in err


@pytest.mark.slow
def test_images_of_the_same_name_do_not_overwrite_each_other(label: Run, drawings: list[Path], tmp_path: Path) -> None:
    numbered = shutil.copy(drawings[2], tmp_path / "1-2.png")
    capital = shutil.copy(drawings[2], tmp_path / "SMALL.png")
    images = [*drawings, numbered, capital]
    for _ in range(2):  # the second run writes into the folder of the first
        code, out, _ = label(*images, "--point", "40,40", "--json", "--out", tmp_path / "out")
        assert code == 0
    written = sorted((tmp_path / "out").glob("*.coco.json"))
    assert len({path.name.lower() for path in written}) == 5
    answers = {
        json.loads(path.read_text("utf-8"))["image"]["sha256"]
        for path in (tmp_path / "out").glob("?*.json")
        if not path.name.endswith(".coco.json")
    }
    assert answers == {json.loads(line)["image"]["sha256"] for line in out.splitlines()}


def test_out_does_not_overwrite_inputs(run: Run, drawings: list[Path]) -> None:
    image = drawings[0]
    folder, stem = image.parent, image.stem
    results, drawn = folder / f"{stem}.coco.json", folder / f"{stem}.overlay.png"
    results.write_text("[]")
    shutil.copy(image, drawn)
    before = drawn.read_bytes()
    for inputs in ((image, "--detections", results), (drawn, image)):
        code, _, err = run("label", *inputs, "--out", folder)
        assert code == 2
        assert "would overwrite an input" in err
        assert "loading" not in err
    assert (results.read_text(), drawn.read_bytes()) == ("[]", before)
    assert not (folder / f"{stem}.segzs.json").exists()


def test_a_file_in_place_of_the_out_folder(run: Run, drawings: list[Path], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    code, out, err = run("label", drawings[0], "--out", tmp_path / "out")
    assert (code, out) == (1, "")
    assert f"{tmp_path / 'out'} is a file; give a folder" in err
    assert "loading" not in err


def test_a_file_name_that_is_not_utf8(label: Run, drawings: list[Path], tmp_path: Path) -> None:
    strange = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    try:
        shutil.copy(os.fsencode(drawings[2]), strange)
    except OSError:
        pytest.skip("this file system refuses such names")
    for options in ([], ["--json"]):
        code, out, _ = label(os.fsdecode(strange), drawings[2], "--point", "40,40", "--out", tmp_path / "out", *options)
        assert code == 0
        assert "caf" in out


def test_a_result_that_cannot_be_written_is_still_printed(label: Run, drawings: list[Path], tmp_path: Path) -> None:
    (tmp_path / "out" / "small.segzs.json").mkdir(parents=True)
    code, out, err = label(drawings[2], drawings[0], "--point", "40,40", "--json", "--out", tmp_path / "out")
    assert code == 1
    assert len(out.splitlines()) == 2
    assert "small.segzs.json cannot be written" in err
    assert (tmp_path / "out" / "1.segzs.json").is_file()


@pytest.mark.slow
def test_labels_from_a_file(run: Run, scene, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("# things on desks\nlaptop\n\ncactus\n")
    arguments = ["label", scene("desk").path, "--point", "380,150", "--unknown", "never", "--json"]
    code, out, _ = run(*arguments, "--labels", labels)
    assert code == 0
    (segment,) = json.loads(out)["segments"]
    assert {name["label"] for name in segment["names"]} == {"laptop", "cactus"}
    code, out, err = run(*arguments, "--labels", tmp_path / "nowhere.txt")
    assert (code, out) == (2, "")
    assert "nowhere.txt" in err


@pytest.mark.slow
def test_names_of_pooled_features(run: Run, scene) -> None:
    arguments = ["label", scene("desk").path, "--point", "380,150", "--labels", "laptop,pencil", "--json"]
    answers = []
    for regions in ("crops", "pooled", "both"):
        code, out, _ = run(*arguments, "--regions", regions)
        assert code == 0
        answers.append(json.loads(out)["segments"][0])
    assert answers[0]["segmentation"] == answers[1]["segmentation"]
    assert answers[0]["names"] != answers[1]["names"]


# Models


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of a machine that has only the embedded models."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def test_the_error_of_a_missing_model_names_the_command(
    run: Run, bare: Path, scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "embedded_folder", lambda: bare)
    code, out, err = run("label", scene("desk").path, "--model", "vit_b")
    assert (code, out) == (1, "")
    assert err.rstrip().endswith("run: segzs fetch vit_b")
    monkeypatch.setenv("SEGZS_MODEL", "vit_h")
    assert run("label", scene("desk").path)[2].rstrip().endswith("run: segzs fetch vit_h")


def test_models_lists_the_files_on_this_machine(run: Run, bare: Path) -> None:
    code, out, err = run("models")
    assert (code, err) == (0, "")
    for name in ("tiny", "mobile", "vit_b", "vit_l", "vit_h", "ViT-B-16:datacomp_xl_s13b_b90k"):
        assert name in out
    (bare / "mobile_sam.pt").write_bytes(b"x" * 3_000_000)
    _, now, _ = run("models")
    assert now != out
    assert str(bare / "mobile_sam.pt") in now


def test_doctor_checks_the_embedded_models(run: Run, bare: Path) -> None:
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    assert "no problems" in out
    assert segzs.__version__ in out
    assert f"{bare} (offline)" in out
    assert out.count("intact") == 2


def test_doctor_names_damaged_checkpoints(run: Run, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "embedded_folder", lambda: bare / "none")
    (bare / "sam_vit_b_01ec64.pth").write_bytes(b"not what Meta published")
    clip = bare / "clip-ViT-B-16-datacomp_xl_s13b_b90k"
    clip.mkdir()
    (clip / "open_clip_config.json").write_text('{"model_cfg": {}}')
    (clip / "open_clip_model.safetensors").write_bytes(b"half of it")
    code, out, _ = run("doctor")
    assert code == 1
    assert out.count("DAMAGED") == 2
    assert "segzs fetch vit_b" in out
    assert "2 problems" in out


def test_doctor_reports_incompatible_packages(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist\nlong story")

    monkeypatch.setattr("importlib.import_module", break_down)
    code, out, _ = run("doctor")
    assert code == 1
    assert "are not compatible (operator torchvision::nms does not exist); install a pair" in out


def test_a_wrong_checkpoint_is_refused(run: Run, bare: Path, scene) -> None:
    (bare / "sam_vit_b_01ec64.pth").write_bytes(b"not what Meta published")
    code, out, err = run("label", scene("desk").path, "--model", "vit_b")
    assert (code, out) == (1, "")
    assert "the file is damaged or another model's; delete it and run: segzs fetch vit_b" in err


def test_fetch_of_unknown_and_forbidden_names(run: Run, bare: Path) -> None:
    code, out, err = run("fetch", "vit_x")
    assert (code, out) == (2, "")
    assert "unknown model 'vit_x'; choose from tiny, photo-fast, photo, mobile" in err
    code, out, err = run("fetch", "sam:vit_x")
    assert (code, out) == (2, "")
    assert "unknown SAM 'vit_x'; choose from tiny, mobile, vit_b" in err
    code, out, err = run("fetch", "vit_b", "--to", bare / "there")
    assert (code, out) == (1, "")
    assert "SEGZS_OFFLINE" in err
    assert not (bare / "there").exists()


def test_fetch_of_a_model_that_is_here_prints_its_paths(run: Run) -> None:
    code, out, err = run("fetch", "tiny")
    assert (code, err) == (0, "")
    assert all(Path(line).exists() for line in out.splitlines())


def test_main_restores_the_warnings_of_its_caller(label: Run, drawings: list[Path]) -> None:
    import warnings

    before = warnings.showwarning
    label(drawings[2], "--point", "40,40")
    assert warnings.showwarning is before


def test_a_box_may_start_outside_the_image(label: Run, scene: Callable) -> None:
    code, out, _ = label(scene("desk").path, "--box", "-10,-10,220,224")
    assert code == 0
    assert "cactus" in out


@pytest.mark.parametrize("similarity", ["2", "nan", "much"])
def test_an_impossible_unknown_is_wrong_use(label: Run, similarity: str, scene: Callable) -> None:
    code, out, err = label(scene("desk").path, "--unknown", similarity)
    assert (code, out) == (2, "")
    assert "neither a cosine similarity from -1 to 1 nor 'never'" in err


def test_a_warning_is_one_line_on_stderr(
    label: Run, segmenter: segzs.Segmenter, scene: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = replace(segmenter.clip, spec=replace(segmenter.clip.spec, ood_threshold=1.1))
    classifier = replace(segmenter.classifier, clip=clip)
    monkeypatch.setattr(segzs, "load", lambda *_, **__: replace(segmenter, classifier=classifier))
    _, _, err = label(scene("desk").path, scene("desk").path, "--box", "258,45,502,258")
    notes = [line for line in err.splitlines() if line.startswith("segzs: note:")]
    assert len(notes) == 1
    assert "UnfamiliarWarning" not in err


def test_white_of_16_bit_files(
    run: Run, segmenter: segzs.Segmenter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pixels = np.full((60, 90), 4095, np.uint16)
    PIL.Image.fromarray(pixels).save(tmp_path / "dark.png")
    monkeypatch.setattr(segzs, "load", lambda *_, **__: segmenter)
    options = ("label", tmp_path / "dark.png", "--point", "40,30", "--json")
    code, out, err = run(*options, "--white", "4095")
    assert (code, "--white" in err) == (0, False)
    assert json.loads(out)["image"]["sha256"] == segzs.read_image(np.full((60, 90, 3), 255, np.uint8)).digest
    assert "--white 4095" in run(*options)[2]


@pytest.mark.slow
def test_cache_shows_and_clears_entries(run: Run, scene: Callable) -> None:
    assert run("label", scene("desk").path, "--point", "380,150", "--quiet")[0] == 0
    assert run("label", scene("desk").path, "--point", "380,150", "--quiet", "--no-cache")[0] == 0
    code, out, err = run("cache")
    assert (code, err) == (0, "")
    assert ": 1 entry, " in out
    assert "now cleared" in run("cache", "--clear")[1]
    assert ": 0 entries, 0.0 MB" in run("cache")[1]


@pytest.mark.parametrize("command", ["models", "doctor"])
def test_tables_have_no_trailing_spaces_and_one_empty_line_between(run: Run, command: str) -> None:
    out = run(command)[1]
    assert out == "".join(f"{line.rstrip()}\n" for line in out.splitlines())
    assert "\n\n" in out.strip()
    assert "\n\n\n" not in out
    assert not out.endswith("\n\n")


def test_models_marks_the_default(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "tiny (default)" in run("models")[1]
    monkeypatch.setenv("SEGZS_MODEL", "vit_b")
    assert "vit_b (default)" in run("models")[1]


def test_doctor_reports_an_unknown_default_model(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGZS_MODEL", "nope")
    code, out, _ = run("doctor")
    assert code == 1
    assert "PROBLEM: SEGZS_MODEL" in out


def test_python_m_segzs_is_segzs() -> None:
    done = subprocess.run([sys.executable, "-m", "segzs", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"segzs {segzs.__version__}\n")


def test_an_unknown_model_in_the_environment_is_wrong_use(
    run: Run, drawings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGZS_MODEL", "nope")
    code, _, err = run("label", drawings[0], "--no-cache")
    assert code == 2
    assert "'nope'" in err
    assert "SEGZS_MODEL" in err
