"""Label a folder with two Ray workers, one of which dies, and compare with one process."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from segzs.cli.main import main
from segzs.clip.support_set import SupportSet
from segzs.clip.vocabulary import Vocabulary
from segzs.dataset import cluster, labeller
from segzs.dataset.cluster import Part, _check_listening, label_cluster, read_cluster
from segzs.dataset.directory import label_directory
from segzs.dataset.listing import ImageList, list_images
from segzs.dataset.pipeline import Failure
from segzs.errors import ImageError, SegzsError, UsageError
from segzs.formats import read, write
from segzs.formats.annotations import ImageAnnotations
from tests.dataset.fake import FakeLabeller, MortalLabeller, contents, paint

pytest.importorskip("pyarrow", reason="pip install 'segzs[ray]'")


@pytest.fixture(scope="session")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A local Ray cluster with two CPUs."""
    ray = pytest.importorskip("ray", reason="pip install 'segzs[ray]'")
    token = tmp_path_factory.mktemp("ray") / "token"
    token.write_text(secrets.token_hex(32))  # otherwise Ray writes one into the home folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        options = {"object_store_memory": 80 * 2**20, "log_to_driver": False, "logging_level": "ERROR"}
        ray.init(num_cpus=2, include_dashboard=False, **options)
        yield
        ray.shutdown()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve images in two folders, another one without objects, and two damaged files."""
    root = tmp_path / "photos"
    for seed in range(12):
        paint(root / "ab"[seed % 2] / f"{seed:02}.png", seed)
    paint(root / "a" / "dark.png", 1, size=(2, 1))
    (root / "a" / "bad.jpg").write_text("words")
    (root / "b" / "empty.png").touch()
    return root


def label_in_process(photos: Path, out: Path) -> tuple[list[ImageAnnotations], list[Failure]]:
    """The results of one process."""
    results = list(label_directory(FakeLabeller(), photos, out))
    return [r for r in results if isinstance(r, ImageAnnotations)], [r for r in results if isinstance(r, Failure)]


def run(photos: Path | ImageList, out: Path, load: Callable = FakeLabeller, **options: Any) -> list[Part]:
    return list(label_cluster(load, photos, out, **{"part": 4, "actors": 2, **options}))


def work(photos: ImageList, out: str | Path, part: str, load: Callable = FakeLabeller) -> dict:
    """Run a worker over four images in this process."""
    names = photos.names[4 * int(part) : 4 * int(part) + 4]
    return cluster._Worker(load, photos.root, str(out))({"part": part, "names": list(map(os.fsencode, names))})


def failures_of(parts: list[Part]) -> list[Failure]:
    return sorted((failure for part in parts for failure in part.failures), key=lambda failure: failure.file)


@pytest.mark.usefixtures("workers")
def test_a_killed_worker_does_not_change_the_results(photos: Path, tmp_path: Path) -> None:
    (deaths := tmp_path / "deaths").mkdir()
    out = tmp_path / "out"
    work(list_images(photos), out, "000001")  # as a run that was stopped leaves it
    written = (out / "segments" / "000001.parquet").stat().st_mtime_ns
    parts = run(photos, out, partial(MortalLabeller, deaths, "b/05.png", 1))
    assert len(list(deaths.iterdir())) == 1
    assert (out / "segments" / "000001.parquet").stat().st_mtime_ns == written

    records, failures = label_in_process(photos, tmp_path / "single")
    assert list(read_cluster(out)) == records
    assert failures_of(parts) == failures
    assert [failure.file for failure in failures] == ["a/bad.jpg", "b/empty.png"]
    assert {part.name: part.labelled for part in parts} == {"000000": 4, "000001": 3, "000002": 4, "000003": 2}
    again = run(photos, out)  # every part is complete
    assert sorted(again, key=lambda part: part.name) == sorted(parts, key=lambda part: part.name)
    assert sorted(contents(out)) == [
        "failures/000001.jsonl",
        "failures/000003.jsonl",
        *(f"segments/00000{number}.parquet" for number in range(4)),
        "segzs-run.json",
        "segzs-settings.json",
    ]


@pytest.mark.usefixtures("workers")
def test_an_image_that_always_kills_its_worker_is_the_only_failure(photos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "RETRIES", 0)
    (deaths := tmp_path / "deaths").mkdir()
    load = partial(MortalLabeller, deaths, "b/05.png", 99)
    parts = run(photos, tmp_path / "out", load, part=7)
    records, failures = label_in_process(photos, tmp_path / "single")
    assert list(read_cluster(tmp_path / "out")) == [record for record in records if record.file != "b/05.png"]
    died = Failure("b/05.png", "the worker died in 1 of 1 attempts")
    assert failures_of(parts) == sorted([*failures, died], key=lambda failure: failure.file)
    assert len(list(deaths.iterdir())) == 2  # once with its part, once alone
    assert failures_of(run(photos, tmp_path / "out", load, part=7)) == failures_of(parts)
    assert len(list(deaths.iterdir())) == 2


def test_a_worker_that_cannot_load_models_reports_why(photos: Path, tmp_path: Path) -> None:
    problem = work(list_images(photos), tmp_path / "out", "000000", without_models)["problem"]
    assert problem == "ModuleNotFoundError: no model"
    assert not (tmp_path / "out").exists()


def without_models() -> FakeLabeller:
    raise ModuleNotFoundError("no model")


def test_other_settings_and_other_images_are_refused(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="pip install 'segzs[ray]'")
    out, images = tmp_path / "out", list_images(photos)
    assert work(images, out, "000000")["problem"] == ""
    problem = work(images, out, "000001", partial(FakeLabeller, labels=["dark"]))["problem"]
    assert 'labels was ["bright"], now ["dark"]' in problem
    assert not (out / "segments" / "000001.parquet").exists()

    next(label_cluster(FakeLabeller, images, out, part=4))
    with pytest.raises(UsageError, match="part was 4, now 5"):
        run(photos, out, part=5)
    paint(photos / "new.png", 1)
    with pytest.raises(UsageError, match="images was 15, now 16"):
        run(photos, out)


def test_an_object_store(photos: Path, tmp_path: Path) -> None:
    """fsspec opens it; files are listed by name and written without a rename."""
    fsspec = pytest.importorskip("fsspec", reason="pip install 'segzs[ray]'")
    store = fsspec.filesystem("memory")
    store.put(str(photos), "/bucket/photos", recursive=True)
    store.pipe({"/bucket/photos/notes.txt": b"words", "/bucket/photos/.hidden/a.png": b"words"})
    images = list_images("memory://bucket/photos")
    assert images.names == list_images(photos).names
    assert images.changes["a/bad.jpg"][0] == len("words")
    assert len(list_images("memory://bucket/photos", glob="a/*")) == 8
    with pytest.raises(ImageError, match="has the suffix of an image and matches 'c/"):
        list_images("memory://bucket/photos", glob="c/*")

    answers = [work(images, "memory://bucket/out", f"00000{number}") for number in range(4)]
    records, failures = label_in_process(photos, tmp_path / "single")
    assert list(read_cluster("memory://bucket/out")) == records
    assert b"".join(answer["failures"] for answer in answers) == b"".join(failure.to_line() for failure in failures)
    assert not [name for name in store.find("/bucket/out") if ".part" in name]


def test_a_name_that_is_not_utf8(photos: Path, tmp_path: Path) -> None:
    try:
        paint(photos / os.fsdecode(b"a/01\xe9.png"), 3)
    except OSError:
        pytest.skip("this file system refuses such names")
    assert work(list_images(photos), tmp_path / "out", "000000")["labelled"] == 4
    assert "a/01\\udce9.png" in [record.file for record in read_cluster(tmp_path / "out")]


def fake_models(
    model: str | None = None, *, labels: Vocabulary, examples: SupportSet, everything: dict, **_: Any
) -> FakeLabeller:
    return FakeLabeller(labels=list(labels.labels), examples=list(examples.labels), everything=everything)


@pytest.mark.usefixtures("workers")
def test_the_command_and_the_conversion_of_its_results(photos: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(labeller, "load_labeller", fake_models)
    (labels := tmp_path / "labels.txt").write_text("cat\ndog\n")
    out = tmp_path / "out"
    saved = SupportSet(torch.eye(2), ("cat", "mug"), "a CLIP").save(tmp_path / "examples.safetensors")
    options = ["--labels", str(labels), "--examples", str(saved), "--points-per-side", "2", "--actors", "1"]
    assert main(["label", str(photos), "--ray", "local", "--out", str(out), "--glob", "a/*", *options]) == 1
    err = capsys.readouterr().err
    assert "error: a/bad.jpg: " in err
    assert f"7 of 8 images labelled: {out}/segments; 1 failed: {out}/failures" in err
    settings = json.loads((out / "segzs-settings.json").read_text())
    assert (settings["labels"], settings["examples"]) == (
        ["cat", "dog"],
        ["cat", "mug"],
    )  # read here: the workers may not have the files
    assert settings["everything"] == {"points_per_side": 2}
    annotated = list(read(out))
    assert [one.file for one in annotated] == [record.file for record in read_cluster(out)]
    images = json.loads(write(annotated, tmp_path / "all.json", "coco").read_text())["images"]
    assert [image["file_name"] for image in images] == [one.file for one in annotated]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--ray", "local"], "--out DIR"),
        (["--ray", "local", "--out", "out", "--point", "1,2"], "--point and --box"),
        (["--ray", "local", "--out", "out", "--json"], "--json"),
        (["--actors", "2"], "--actors cannot be used with a directory, only with --ray"),
    ],
)
def test_options_that_exclude_each_other(photos: Path, options: list[str], says: str, capsys) -> None:
    assert main(["label", str(photos), *options]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("options", [{"gpus": 0.5}, {"cpus": 3}, {"gpus": 1, "actors": 1}])
def test_an_actor_that_does_not_fit_is_an_error(photos: Path, tmp_path: Path, options: dict) -> None:
    with pytest.raises(SegzsError, match="the cluster has 2 CPUs and 0 GPUs, and one actor needs"):
        run(photos, tmp_path / "out", **{"actors": None, "address": "local", **options})


@pytest.mark.parametrize("options", [{"part": 0}, {"actors": 0}, {"cpus": -1}, {"gpus": 1.5}])
def test_numbers_out_of_range(photos: Path, tmp_path: Path, options: dict) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(options))} is"):
        run(photos, tmp_path / "out", **options)


def test_an_address_of_an_unknown_scheme() -> None:
    with pytest.raises(SegzsError, match="nowhere://bucket"):
        list(read_cluster("nowhere://bucket"))
    assert not os.path.exists("nowhere:")


def test_an_address_where_nothing_listens_is_an_error_at_once() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(OSError, match="refused"):
            _check_listening(f"ray://{address}")
        server.listen()
        _check_listening(address)
    _check_listening("auto")
