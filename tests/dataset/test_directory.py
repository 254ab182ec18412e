"""Label a directory: what is written, what a crash leaves behind, and how a run resumes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from pycocotools.coco import COCO

from segzs.dataset import directory, journal
from segzs.dataset.directory import label_directory
from segzs.dataset.listing import list_images
from segzs.dataset.pipeline import Failure
from segzs.errors import FormatWarning, OutputError, SegzsError, UsageError
from segzs.formats import read
from segzs.formats.annotations import ImageAnnotations
from segzs.formats.native import read_lines
from tests.dataset.fake import FakeLabeller, contents, paint


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six images, among them two of the same stem and two of the same content, and one damaged file."""
    root = tmp_path / "photos"
    for seed, name in enumerate(("a/1.png", "a/1.bmp", "b/1.png", "c.png", "d.png")):
        paint(root / name, seed)
    shutil.copy(root / "c.png", root / "b" / "copy.png")
    (root / "b" / "bad.jpg").write_text("words")
    return root


def run(photos: Path, out: Path, **options: Any) -> list[ImageAnnotations | Failure]:
    return list(label_directory(FakeLabeller(), photos, out, **options))


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


NAMES = ["a/1.bmp", "a/1.png", "b/1.png", "b/bad.jpg", "b/copy.png", "c.png", "d.png"]


def test_results_are_yielded_and_written_in_the_order_of_paths(photos: Path, tmp_path: Path) -> None:
    results = run(photos, tmp_path / "out")
    assert [result.file for result in results] == NAMES
    records = [result for result in results if isinstance(result, ImageAnnotations)]
    assert list(read_lines(tmp_path / "out" / "segments.jsonl")) == records
    assert rows(tmp_path / "out" / "failures.jsonl") == [
        {"file": "b/bad.jpg", "reason": "the image of 5 bytes is not an image of a format that Pillow reads"}
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")) == [
        "annotations.json",
        "failures.jsonl",
        "segments.jsonl",
        "segzs-run.json",
    ]


def test_the_coco_file_holds_all_segments(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "out")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "out" / "annotations.json"))
    records = list(read_lines(tmp_path / "out" / "segments.jsonl"))
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == [record.file for record in records]
    assert coco.loadCats(coco.getCatIds()) == [{"id": 1, "name": "bright"}]
    for number, record in enumerate(records, start=1):
        (segment,), (annotation,) = record.segments, coco.loadAnns(coco.getAnnIds(imgIds=[number]))
        assert (coco.annToMask(annotation) == segment.mask).all()
        assert (annotation["area"], annotation["score"]) == (segment.area, segment.probability)
    assert coco.getAnnIds() == [1, 2, 3, 4, 5, 6]


def test_overlays_keep_the_folders_and_never_collide(photos: Path, tmp_path: Path) -> None:
    paint(photos / "a" / f"{'長' * 80}.png", 7)  # the longest name that file systems allow
    run(photos, tmp_path / "out", overlays=True)
    drawn = sorted((tmp_path / "out" / "overlays").rglob("*.png"))
    assert len({str(path).lower() for path in drawn}) == len(NAMES)
    assert [path.parent.name for path in drawn] == ["a", "a", "a", "b", "b", "overlays", "overlays"]
    for path in drawn:
        with PIL.Image.open(path) as image:
            assert image.width >= 480


def test_overlays_can_be_drawn_by_a_later_run(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "at once", overlays=True)
    run(photos, tmp_path / "later")
    labeller = FakeLabeller()
    list(label_directory(labeller, photos, tmp_path / "later", overlays=True))
    assert labeller.labelled == []
    assert contents(tmp_path / "later") == contents(tmp_path / "at once")


def test_only_new_content_is_labelled(photos: Path, tmp_path: Path) -> None:
    labeller = FakeLabeller()
    iterator = label_directory(labeller, photos, tmp_path / "out", threads=1)
    assert [next(iterator).file for _ in range(3)] == NAMES[:3]
    iterator.close()
    assert labeller.labelled == NAMES[:3]
    assert not (tmp_path / "out" / "annotations.json").exists()
    list(label_directory(labeller, photos, tmp_path / "out", threads=1))
    assert labeller.labelled == [*NAMES[:3], "b/copy.png", "d.png"]  # c.png has the same content as b/copy.png
    run(photos, tmp_path / "uninterrupted")
    assert contents(tmp_path / "out") == contents(tmp_path / "uninterrupted")


def test_changed_new_and_removed_images(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "out", overlays=True)
    paint(photos / "c.png", 50)
    paint(photos / "aa.png", 51)
    paint(photos / "b" / "bad.jpg", 52)
    (photos / "d.png").rename(photos / "e.png")
    (photos / "a" / "1.bmp").unlink()
    labeller = FakeLabeller()
    list(label_directory(labeller, photos, tmp_path / "out", overlays=True))
    assert labeller.labelled == ["aa.png", "b/bad.jpg", "c.png"]
    run(photos, tmp_path / "uninterrupted", overlays=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "uninterrupted")


def test_any_number_of_threads_gives_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    for threads in (1, 3, 16):
        run(photos, tmp_path / str(threads), overlays=True, threads=threads)
    assert contents(tmp_path / "1") == contents(tmp_path / "3") == contents(tmp_path / "16")
    with pytest.raises(SegzsError, match="threads is 0"):
        run(photos, tmp_path / "out", threads=0)


# Crashes


class Killed(BaseException):
    """A stand-in for SIGKILL, which nothing in segzs may catch."""


class Crash:
    """End the run before, during or after one of its changes to a file."""

    def __init__(self, patch: pytest.MonkeyPatch, moment: int) -> None:
        self.moment, self.moments = moment, 0
        write, replace = journal.write_all, os.replace
        for module in (journal, directory):
            patch.setattr(module, "write_all", lambda file, data: self._write(write, file, data))
        patch.setattr(os, "replace", lambda *paths: self._between(lambda: replace(*paths)))

    def _write(self, write: Callable, file: Any, data: bytes) -> None:
        self._tick()
        write(file, data[: len(data) // 2])
        self._tick()
        write(file, data[len(data) // 2 :])
        self._tick()

    def _between(self, act: Callable[[], None]) -> None:
        self._tick()
        act()
        self._tick()

    def _tick(self) -> None:
        self.moments += 1
        if self.moments == self.moment:
            raise Killed


def crash(photos: Path, out: Path, moment: int) -> int:
    """Run until a moment; returns the number of moments that passed."""
    with pytest.MonkeyPatch.context() as patch:
        crash = Crash(patch, moment)
        with contextlib.suppress(Killed):
            run(photos, out, overlays=True)
        return crash.moments


def check_whole(out: Path) -> None:
    """Check that no file is incomplete, except for the last line of a file that grows."""
    for path in out.rglob("*"):
        if path.suffix == ".png":
            with PIL.Image.open(path) as image:
                image.load()
        elif path.suffix == ".json":
            json.loads(path.read_text("utf-8"))
        elif path.name == "segments.jsonl":
            list(read_lines(path))


@pytest.mark.slow
def test_a_run_killed_at_any_moment_resumes_to_identical_files(photos: Path, tmp_path: Path) -> None:
    shutil.rmtree(photos / "a")
    (photos / "d.png").unlink()
    moments = crash(photos, tmp_path / "whole", 0)
    whole = contents(tmp_path / "whole")
    assert moments > 20
    for moment in range(1, moments + 1):
        out = tmp_path / str(moment)
        assert crash(photos, out, moment) == moment
        check_whole(out)
        run(photos, out, overlays=True)
        assert contents(out) == whole, moment


@pytest.mark.slow
def test_a_run_killed_while_lines_are_reordered_resumes(photos: Path, tmp_path: Path) -> None:
    early = tmp_path / "early"
    run(photos, early, overlays=True)
    (photos / "a" / "1.png").unlink()
    paint(photos / "a" / "0.png", 60)
    moments = crash(photos, shutil.copytree(early, tmp_path / "whole"), 0)
    whole = contents(tmp_path / "whole")
    for moment in range(1, moments + 1):
        out = shutil.copytree(early, tmp_path / str(moment))
        assert crash(photos, out, moment) == moment
        check_whole(out)
        run(photos, out, overlays=True)
        assert contents(out) == whole, moment


@pytest.mark.slow
def test_repeated_kills_lose_no_completed_image(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "whole", overlays=True)
    chance = random.Random(0)
    for attempt in range(3):
        out, kept = tmp_path / str(attempt), 0
        for _ in range(30):
            crash(photos, out, chance.randint(1, 12))
            count = len(list(read_lines(out / "segments.jsonl"))) if (out / "segments.jsonl").exists() else 0
            assert count >= kept
            kept = count
        run(photos, out, overlays=True)
        assert contents(out) == contents(tmp_path / "whole")


SIGKILLS = """
import os, random, shutil, signal, sys, time
from pathlib import Path
from segzs.dataset.directory import label_directory
from tests.dataset.fake import FakeLabeller, contents, paint

class Slow(FakeLabeller):
    def label(self, path, sha256, image):
        time.sleep(0.002)
        return super().label(path, sha256, image)

root = Path(sys.argv[1])
photos, whole, out = root / "photos", root / "whole", root / "out"
for number in range(40):
    paint(photos / str(number % 3) / f"{number}.png", number)
(photos / "bad.png").write_bytes(b"")
start = time.monotonic()
list(label_directory(Slow(), photos, whole))
seconds = time.monotonic() - start
chance, kills, finished = random.Random(1), 0, 0
while kills < 30 or not finished:
    child = os.fork()
    if not child:
        list(label_directory(Slow(), photos, out))
        os._exit(0)
    if kills < 30:
        time.sleep(chance.uniform(0, seconds / 2))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        kills += 1
        continue
    assert status == 0, status
    assert contents(out) == contents(whole)
    shutil.rmtree(out)
    finished += 1
print(kills, finished)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_sigkill_at_30_random_instants(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SIGKILLS, str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    kills, finished = map(int, done.stdout.split())
    assert kills >= 30
    assert finished >= 1


def test_zeros_left_by_a_power_failure_are_removed(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "whole")
    run(photos, tmp_path / "out")
    file = tmp_path / "out" / "segments.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(True)[:2]) + bytes(100) + b"\n{}\n")
    run(photos, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


# Bad images, bad folders


def test_an_error_of_the_models_fails_only_its_image(photos: Path, tmp_path: Path) -> None:
    class Stumbling(FakeLabeller):
        def label(self, path: str, sha256: str, image: Any) -> ImageAnnotations:
            if path == "a/1.png":
                raise MemoryError("too large")
            return super().label(path, sha256, image)

    results = list(label_directory(Stumbling(), photos, tmp_path / "out"))
    assert Failure("a/1.png", "MemoryError: too large") in results
    assert len(results) == len(NAMES)
    assert not isinstance(run(photos, tmp_path / "out")[1], Failure)  # it gets another chance
    run(photos, tmp_path / "uninterrupted")
    assert contents(tmp_path / "out") == contents(tmp_path / "uninterrupted")


def test_a_directory_of_damaged_images(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "bad.jpg").touch()
    (tmp_path / "photos" / "gone.jpg").symlink_to(tmp_path / "gone.jpg")
    results = run(tmp_path / "photos", tmp_path / "out")
    assert [result.file for result in results if isinstance(result, Failure)] == ["bad.jpg", "gone.jpg"]
    assert results[1].reason == "cannot be read: No such file or directory"  # type: ignore[union-attr]
    assert json.loads((tmp_path / "out" / "annotations.json").read_text("utf-8"))["images"] == []


def test_a_name_that_is_not_utf8(photos: Path, tmp_path: Path) -> None:
    try:
        shutil.copy(photos / "c.png", photos / os.fsdecode(b"caf\xe9.png"))
    except OSError:
        pytest.skip("this file system refuses such names")
    for _ in range(2):
        assert os.fsdecode(b"caf\xe9.png") in [result.file for result in run(photos, tmp_path / "out", overlays=True)]
    assert len(rows(tmp_path / "out" / "segments.jsonl")) == 7


def test_other_settings_are_refused_and_change_nothing(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    list(label_directory(FakeLabeller(everything={"points": None, "area": 5}), photos, out))
    before = contents(out)
    with pytest.raises(UsageError, match=r'labels was \["bright"\], now \["dark"\]'):
        next(label_directory(FakeLabeller(labels=["dark"]), photos, out))
    with pytest.raises(UsageError, match=r"everything.points was null, now 5"):
        next(label_directory(FakeLabeller(everything={"points": 5, "area": 5}), photos, out))
    with pytest.raises(UsageError, match=r'glob was \[\], now \["\*\.png"\]'):
        next(label_directory(FakeLabeller(), list_images(photos, glob="*.png"), out))
    with pytest.raises(UsageError, match="belongs to the directory"):
        next(label_directory(FakeLabeller(), photos / "a", out))
    assert contents(out) == before


def test_an_output_folder_inside_the_directory_is_not_labelled(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "out", overlays=True)
    for _ in range(2):
        assert [result.file for result in run(photos, photos / "out", overlays=True)] == NAMES
    run(photos, tmp_path / "another")
    assert contents(tmp_path / "another").keys() < contents(photos / "out").keys()


def test_folders_that_cannot_be_out(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is the directory of the images"):
        run(photos, photos)
    run(photos, tmp_path / "out", overlays=True)
    with pytest.raises(UsageError, match="holds overlays of the results"):
        run(tmp_path / "out" / "overlays" / "a", tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file; give a folder"):
        run(photos, tmp_path / "file")
    for name in ("segments.jsonl", "annotations.json"):  # the latter may not be from segzs
        file = tmp_path / f"with {name}" / name
        file.parent.mkdir()
        file.write_text("{}\n")
        with pytest.raises(UsageError, match=rf"holds {name} but no segzs-run\.json"):
            run(photos, file.parent)
        assert file.read_text() == "{}\n"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other"}'])
def test_a_damaged_run_file_is_an_error(photos: Path, tmp_path: Path, text: str) -> None:
    run(photos, tmp_path / "out")
    (tmp_path / "out" / "segzs-run.json").write_text(text)
    with pytest.raises(OutputError, match=r"segzs-run\.json"):
        run(photos, tmp_path / "out")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root can write to every folder")
def test_a_folder_without_permission(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="denied"):
        run(photos, tmp_path / "out")


def test_a_full_disk_is_an_error_and_the_run_resumes(photos: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="this system cannot limit file sizes")
    run(photos, tmp_path / "whole")
    most = len((tmp_path / "whole" / "segments.jsonl").read_bytes()) * 2 // 3
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"segments\.jsonl cannot be written: File too large"):
            run(photos, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "out" / "segments.jsonl").read_bytes().endswith(b"\n")
    run(photos, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_two_runs_cannot_write_to_one_folder(photos: Path, tmp_path: Path) -> None:
    first = label_directory(FakeLabeller(), photos, tmp_path / "out")
    next(first)
    with pytest.raises(OutputError, match="another run is writing"):
        run(photos, tmp_path / "out")
    closing = threading.Thread(target=first.close)  # as a server does
    closing.start()
    closing.join()
    run(photos, tmp_path / "out")


def test_an_interrupt_ends_the_threads_and_the_run_resumes(photos: Path, tmp_path: Path) -> None:
    class Interrupted(FakeLabeller):
        def label(self, path: str, sha256: str, image: Any) -> ImageAnnotations:
            if path == "b/1.png":
                raise KeyboardInterrupt
            return super().label(path, sha256, image)

    with pytest.raises(KeyboardInterrupt):
        list(label_directory(Interrupted(), photos, tmp_path / "out"))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("segzs")]
    assert [row["file"] for row in rows(tmp_path / "out" / "segments.jsonl")] == ["a/1.bmp", "a/1.png"]
    total = len(list_images(photos))
    with pytest.warns(FormatWarning, match=rf"out: {total - 2} of {total} images are missing; repeat segzs label"):
        assert len(list(read(tmp_path / "out"))) == 2
    run(photos, tmp_path / "out")
    list(read(tmp_path / "out"))  # without a warning
    run(photos, tmp_path / "uninterrupted")
    assert contents(tmp_path / "out") == contents(tmp_path / "uninterrupted")


def test_a_limited_number_of_images_is_decoded_ahead(photos: Path, tmp_path: Path) -> None:
    decoded: list[bytes] = []
    decoded_ahead = threading.Event()

    class Watched(FakeLabeller):
        def prepare(self, data: bytes) -> Any:
            decoded.append(data)
            if len(decoded) == 3:
                decoded_ahead.set()
            return super().prepare(data)

    for number in range(20):
        paint(photos / "more" / f"{number}.png", number)
    iterator = label_directory(Watched(), photos, tmp_path / "out", threads=2)
    next(iterator)
    assert decoded_ahead.wait(10)  # the first is yielded, and the next two are ready
    iterator.close()
    assert len(decoded) == 3
