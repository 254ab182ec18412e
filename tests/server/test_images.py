"""Which images can be read, and how many are kept."""

from __future__ import annotations

import io
import os
import shutil
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from segzs import ImageError, ImageTooLargeError, RequestError
from segzs.errors import UsageError
from segzs.server.app import status_of
from segzs.server.images import ImageStore


def png(colour: int, size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, (colour, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def store(*paths: Path, memory: int = 10_000, max_pixels: int = 1000) -> ImageStore:
    return ImageStore(paths, memory=memory, max_pixels=max_pixels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two images beside a secret one."""
    (tmp_path / "secret.png").write_bytes(png(9))
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    (tmp_path / "photos" / "a.png").write_bytes(png(1))
    (tmp_path / "photos" / "sub" / "b.png").write_bytes(png(2))
    return tmp_path / "photos"


def test_only_the_files_of_the_folder_can_be_opened(folder: Path) -> None:
    images = store(folder)
    assert [image["name"] for image in images.listing()] == ["a.png", "sub/b.png"]
    assert images.open("sub/b.png").image.pixels[0, 0, 0] == 2
    for name in ("../secret.png", "sub/../../secret.png", str(folder.parent / "secret.png"), "", ".", "a.png\0"):
        with pytest.raises(RequestError, match="there is no image"):
            images.open(name)


def test_links_that_lead_out_of_the_folder_are_not_followed(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "up").symlink_to(folder.parent)
    (folder / "inside.png").symlink_to(folder / "a.png")
    images = store(folder)
    assert [image["name"] for image in images.listing()] == ["a.png", "inside.png", "sub/b.png"]
    for name in ("link.png", "up/secret.png"):
        with pytest.raises(RequestError, match="there is no image"):
            images.open(name)


def test_a_file_that_became_a_link_is_refused(folder: Path) -> None:
    images = store(folder)
    images.listing()
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(folder.parent / "secret.png")
    with pytest.raises(RequestError, match="there is no image"):
        images.open("a.png")


def test_an_edited_file_is_another_image(folder: Path) -> None:
    images = store(folder)
    before = images.open("a.png").image
    (folder / "a.png").write_bytes(png(200, (9, 9)))
    os.utime(folder / "a.png", (1, 1))
    assert images.listing()[0]["digest"] is None
    after = images.open("a.png").image
    assert after.digest != before.digest
    assert images.listing()[0]["digest"] == after.digest
    assert images.get(before.digest).image == before  # it is still kept


def test_several_folders_and_files(folder: Path) -> None:
    names = [image["name"] for image in store(folder, folder.parent / "secret.png").listing()]
    assert names == ["photos/a.png", "photos/sub/b.png", "secret.png"]


def test_two_paths_of_one_name_are_refused(folder: Path) -> None:
    """Both would have the names photos/a.png and photos/sub/b.png, and one of them could not be opened."""
    shutil.copytree(folder, folder.parent / "copy" / "photos")
    with pytest.raises(UsageError, match="have the same name; rename one"):
        store(folder, folder.parent / "copy" / "photos")
    assert len(store(folder, folder).listing()) == 2


def test_messages_do_not_say_where_the_folder_lies(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"no image")
    with pytest.raises(ImageError) as error:
        store(folder).open("broken.png")
    assert str(folder) not in str(error.value)


def test_the_least_recently_used_images_go_first() -> None:
    images = store(memory=3 * 8 * 8 * 2)
    digests = [images.put(png(colour), "").image.digest for colour in (1, 2)]
    images.get(digests[0])
    third = images.put(png(3), "").image.digest
    assert images.nbytes == 3 * 8 * 8 * 2
    assert images.get(digests[0]).image.digest == digests[0]
    assert images.get(third).image.digest == third
    with pytest.raises(RequestError, match="upload it with PUT") as error:
        images.get(digests[1])
    assert error.value.status == 404


def test_a_file_that_is_not_kept_any_more_is_read_again(folder: Path) -> None:
    images = store(folder, memory=1)
    first = images.open("a.png").image.digest
    images.open("sub/b.png")
    assert images.get(first).name == "a.png"


def test_features_count(folder: Path) -> None:
    class Encoded:
        features = np.zeros(1000, np.float32)

    images, encoding = store(folder), Future[Any]()
    digest = images.open("a.png").image.digest
    assert images.encoding(digest, lambda _: encoding) is encoding
    encoding.set_result(Encoded())
    assert images.nbytes == 3 * 8 * 8 + 4000


def test_a_failed_encoding_is_started_again(folder: Path) -> None:
    images, first, second = store(folder), Future[Any](), Future[Any]()
    digest = images.open("a.png").image.digest
    assert images.encoding(digest, lambda _: first) is first
    assert images.encoding(digest, lambda _: second) is first
    first.set_exception(MemoryError())
    assert images.encoding(digest, lambda _: second) is second


def test_the_same_bytes_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    images, data = store(), png(5)
    entry = images.put(data, "a")
    monkeypatch.setattr("segzs.server.images.read_image", None)
    assert images.put(data, "b") is entry


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(ImageTooLargeError, match="100x100 pixels, more than 1,000") as error:
        store().put(png(1, (100, 100)), "")
    assert status_of(error.value) == 413


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_folder_without_images_is_reported_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError):
        store(tmp_path / name)
