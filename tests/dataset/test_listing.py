"""Which files of a directory are its pictures."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest

from segzs.dataset.listing import list_images
from segzs.errors import ImageError
from tests.dataset.fake import paint


def test_content_tells_and_what_only_is_named_so_is_not_lost(tmp_path: Path) -> None:
    paint(tmp_path / "b" / "photo.JPG", 1)
    paint(tmp_path / "b" / "png", 2, format="PNG")
    paint(tmp_path / "a" / "data.bin", 3, format="WEBP")
    (tmp_path / "a" / "words.jpg").write_text("words")
    (tmp_path / "a" / "empty.png").touch()
    for name in ("notes.txt", "P6 is a format", "BMW", "Makefile"):
        (tmp_path / name).write_text(name)
    (tmp_path / "notes").write_bytes(bytes(range(256)))
    assert list_images(tmp_path).names == ("a/data.bin", "a/empty.png", "a/words.jpg", "b/photo.JPG", "b/png")


def test_a_huge_picture_without_a_picture_s_name_is_told_of(tmp_path: Path) -> None:
    chunks = b"IHDR" + struct.pack(">IIBBBBB", 1 << 17, 1 << 17, 8, 2, 0, 0, 0), b"IDATx"
    framed = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    (tmp_path / "huge").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))
    assert list_images(tmp_path).names == ("huge",)


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / ".hidden itself"
    for name in (".a.png", ".cache/b.png", "c/.d/e.png", "f.png"):
        paint(root / name, 1)
    assert list_images(root).names == ("f.png",)


def test_links_are_followed_once_and_may_loop(tmp_path: Path) -> None:
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
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
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
def test_a_glob_chooses(tmp_path: Path, glob: str | list[str], names: tuple[str, ...]) -> None:
    for name in ("a.png", "2024/b.png", "2024/c.jpg"):
        paint(tmp_path / name, 1)
    assert list_images(tmp_path, glob=glob).names == names


def test_what_segzs_drew_is_none_of_the_pictures(tmp_path: Path) -> None:
    for name in ("a.png", "out/overlays/a.png", "out/mine.png", "overlays/b.png"):
        paint(tmp_path / name, 1)
    (tmp_path / "out" / "segzs-run.json").touch()
    assert list_images(tmp_path).names == ("a.png", "out/mine.png", "overlays/b.png")


def test_nothing_to_label_is_said(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is empty"):
        list_images(tmp_path)
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(ImageError, match=r"none of 1 file in .* is a picture"):
        list_images(tmp_path)
    paint(tmp_path / "a.png", 1)
    with pytest.raises(ImageError, match=r"none of 2 files .* matches '\*\.jpg'"):
        list_images(tmp_path, glob="*.jpg")
    with pytest.raises(ImageError, match="is no folder"):
        list_images(tmp_path / "a.png")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may look everywhere")
def test_a_folder_that_cannot_be_looked_into_is_told_of(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 1)
    paint(tmp_path / "closed" / "b.png", 1).parent.chmod(0)
    found = list_images(tmp_path)
    (tmp_path / "closed").chmod(0o700)
    assert found.names == ("a.png", "closed/")
    assert "denied" in found.unreadable["closed/"]
