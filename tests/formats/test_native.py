"""The lines of segzs/1."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segzs.errors import AnnotationError
from segzs.formats import Digests, ImageAnnotations, read
from segzs.formats.native import read_lines, to_dict, to_line
from segzs.masks import RLE
from segzs.segments import Name, Segment

SEGMENT = Segment(RLE(2, 3, "06"), 0.9, 0.8, (Name("猫", 0.5), Name("unknown", 0.25)))
IMAGE = ImageAnnotations("a/\udce9 ü.png", 3, 2, (SEGMENT,), "tiny+tiny", Digests("c1", "5a", "d1", "d2"), "holidays")


def test_lines_read_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "segments.jsonl"
    path.write_bytes(to_line(IMAGE) * 2)
    assert list(read_lines(path)) == list(read_lines(path, verify=False)) == list(read(path)) == [IMAGE, IMAGE]


def test_values_without_content_are_left_out() -> None:
    values = to_dict(ImageAnnotations("a.png", 3, 2))
    assert list(values) == ["file", "format", "model", "image", "segments"]


def test_an_incomplete_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "segments.jsonl"
    line = to_line(IMAGE)
    for length in range(len(line) - 1):
        path.write_bytes(line + line[:length])
        assert list(read_lines(path)) == [IMAGE]


@pytest.mark.parametrize("line", ["{", "[]", "{}", "5", json.dumps(to_dict(IMAGE) | {"format": "segzs/9"})])
def test_an_invalid_line_is_an_error_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "segments.jsonl"
    path.write_bytes(to_line(IMAGE) + line.encode() + b"\n" + to_line(IMAGE))
    with pytest.raises(AnnotationError, match=r"segments\.jsonl, line 2: not a line of segzs/1"):
        list(read_lines(path))


def test_an_invalid_mask_is_an_error_where_masks_are_verified(tmp_path: Path) -> None:
    values = to_dict(IMAGE)
    values["segments"][0]["segmentation"]["counts"] = "06000"
    (tmp_path / "segments.jsonl").write_text(json.dumps(values) + "\n")
    with pytest.raises(AnnotationError, match=r"segments\.jsonl, line 1"):
        list(read_lines(tmp_path / "segments.jsonl"))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="cannot be read: No such file"):
        list(read_lines(tmp_path / "nowhere.jsonl"))
