"""Which files of a directory are listed as images."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest

from segzs.dataset.listing import list_images
from segzs.errors import ImageError
from tests.dataset.fake import paint


def test_images_are_recognised_by_content_and_listed_by_suffix(tmp_path: Path) -> None:
    paint(tmp_path / "b" / "photo.JPG", 1)
    paint(tmp_path / "b" / "png", 2, format="PNG")
    paint(tmp_path / "a" / "data.bin", 3, format="WEBP")
    (tmp_path / "a" / "words.jpg").write_text("words")
    (tmp_path / "a" / "empty.png").touch()
    for name in ("notes.txt", "P6 is a format", "BMW", "Makefile"):
        (tmp_path / name).write_text(name)
    (tmp_path / "notes").write_bytes(bytes(range(256)))
    assert list_images(tmp_path).names == ("a/data.bin", "a/empty.png", "a/words.jpg", "b/photo.JPG", "b/png")


def test_a_huge_image_without_a_suffix_is_listed(tmp_path: Path) -> None:
    chunks = b"IHDR" + struct.pack(">IIBBBBB", 1 << 17, 1 << 17, 8, 2, 0, 0, 0), b"IDATx"
    framed = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    (tmp_path / "huge").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))
    assert list_images(tmp_path).names == ("huge",)


def test_hidden_files_and_folders_are_skipped(tmp_path: Path) -> None:
    root = tmp_path / ".hidden itself"
    for name in (".a.png", ".cache/b.png", "c/.d/e.png", "f.png"):
        paint(root / name, 1)
    assert list_images(root).names == ("f.png",)


def test_links_are_followed_once_even_in_loops(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    paint(root / "z" / "1.png", 1)
    paint(elsewhere / "2.png", 2)
    (root / "a").symlink_to(root / "z")  # the folder keeps its own path
    (root / "z" / "up").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    (root / "there").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(root / "z")
    (root / "link.png").symlink_to(elsewhere / "2.png")
    (root / "gone.png").symlink_to(tmp_path / "gone.png")
    (root / "gone.txt").symlink_to(tmp_path / "gone.txt")
    assert list_images(root).names == ("gone.png", "link.png", "there/2.png", "z/1.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.png").symlink_to(tmp_path / "pipe")
    paint(tmp_path / "a.png", 1)
    assert list_images(tmp_path).names == ("a.png",)


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("*.png", ("2024/b.png", "a.png")),
        ("**/*.png", ("2024/b.png", "a.png")),
        ("2024/*", ("2024/b.png", "2024/c.jpg")),
        (["*.jpg", "a.*"], ("2024/c.jpg", "a.png")),
    ],
)
def test_glob_selects_names(tmp_path: Path, glob: str | list[str], names: tuple[str, ...]) -> None:
    for name in ("a.png", "2024/b.png", "2024/c.jpg"):
        paint(tmp_path / name, 1)
    assert list_images(tmp_path, glob=glob).names == names


def test_overlays_are_not_listed(tmp_path: Path) -> None:
    for name in ("a.png", "out/overlays/a.png", "out/mine.png", "overlays/b.png"):
        paint(tmp_path / name, 1)
    (tmp_path / "out" / "segzs-run.json").touch()
    assert list_images(tmp_path).names == ("a.png", "out/mine.png", "overlays/b.png")


def test_a_directory_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="none of 0 files"):
        list_images(tmp_path)
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(ImageError, match=r"none of 1 file in .* is an image"):
        list_images(tmp_path)
    paint(tmp_path / "a.png", 1)
    with pytest.raises(ImageError, match=r"none of 2 files in .* \(0 match '\*\.jpg'\) is an image"):
        list_images(tmp_path, glob="*.jpg")
    with pytest.raises(ImageError, match="is not a folder"):
        list_images(tmp_path / "a.png")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root can read every folder")
def test_an_unreadable_folder_is_listed_with_the_reason(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 1)
    paint(tmp_path / "closed" / "b.png", 1).parent.chmod(0)
    images = list_images(tmp_path)
    (tmp_path / "closed").chmod(0o700)
    assert images.names == ("a.png", "closed/")
    assert "denied" in images.unreadable["closed/"]
