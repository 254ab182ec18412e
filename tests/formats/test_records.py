"""Reading the lines of segments.jsonl."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segzs.errors import SegzsError
from segzs.formats.records import Record, read_records, to_line
from segzs.masks import RLE
from segzs.segments import Name, Segment

SEGMENT = Segment(RLE(2, 3, "06"), 0.9, 0.8, (Name("猫", 0.5), Name("unknown", 0.25)))
RECORD = Record("a/\udce9 ü.png", "5a", 3, 2, "c1", "tiny+tiny", "d1", "d2", (SEGMENT,))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "segments.jsonl"
    path.write_bytes(to_line(RECORD) * 2)
    assert list(read_records(path)) == [RECORD, RECORD]


def test_a_line_that_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "segments.jsonl"
    line = to_line(RECORD)
    for length in range(len(line)):
        path.write_bytes(line + line[:length])
        assert list(read_records(path)) == [RECORD]


@pytest.mark.parametrize("line", ["", "{", "[]", "{}", "5", json.dumps(RECORD.to_dict() | {"format": "segzs/9"})])
def test_another_line_that_is_no_record_is_said(tmp_path: Path, line: str) -> None:
    path = tmp_path / "segments.jsonl"
    path.write_bytes(to_line(RECORD) + line.encode() + b"\n" + to_line(RECORD))
    with pytest.raises(SegzsError, match=r"segments\.jsonl, line 2: this is no record"):
        list(read_records(path))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SegzsError, match="cannot be read: No such file"):
        list(read_records(tmp_path / "nowhere.jsonl"))
