import json
import math

import pytest

from segzs.evaluate.measure import Row
from segzs.evaluate.report import TITLES, compare, comparison_table, report


def row(picture: int, name: str, answer: str, source: str = "a", area: int = 5000, **values: float) -> Row:
    right = float(name == answer)
    return Row(picture, source, name, area, {"top_1": right, "answered": right, **values}, answer, answer)


ROWS = [
    row(0, "cat", "cat", area=100, confidence=0.9, unknown_score=0.1, removed=0),
    row(0, "cat", "dog", area=2000, confidence=0.6, unknown_score=0.2, removed=0),
    row(1, "dog", "dog", "b", area=20000, confidence=0.8, unknown_score=0.9, removed=1),
    row(2, "cat", "dog", "b", area=20000, confidence=0.7, unknown_score=0.15, removed=1),
]


def test_a_report_by_hand() -> None:
    found = report(ROWS, {"data": "here"})
    assert found.figures["top_1"].value == 0.5
    assert found.figures["unknown_auroc"].value == 0.75
    assert found.figures["calibration_error"].value == pytest.approx((0.1 + 0.6 + 0.2 + 0.7) / 4)
    assert {group: figures["top_1"].value for group, figures in found.by["source"].items()} == {"a": 0.5, "b": 0.5}
    assert {group: figures["top_1"].value for group, figures in found.by["size"].items()} == {
        "small": 1,
        "medium": 0,
        "large": 0.5,
    }
    assert found.by["category"]["cat"]["top_1"].value == pytest.approx(1 / 3)
    assert found.confusions == (("cat", "dog", 2),)
    assert list(found.figures) == [key for key in TITLES if key in found.figures]


def test_its_forms_hold_the_same_figures() -> None:
    found = report(ROWS, {"data": "here"})
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["data"] == "here"
    assert plain["figures"]["top_1"]["value"] == 0.5
    assert plain["by_source"]["b"]["top_1"]["count"] == 2
    assert plain["confusions"] == [{"name": "cat", "answer": "dog", "count": 2}]
    table = found.table()
    assert table[0][4:] == ("a (source)", "b (source)", "small (size)", "medium (size)", "large (size)")
    assert table[1][:2] == ("names: top-1", "0.500")
    page = found.markdown()
    assert "| names: top-1 | 0.500 |" in page
    assert "| cat | dog | 2 |" in page
    assert "| cat | 3 |" in page


def test_what_was_not_measured_is_not_reported() -> None:
    rows = [Row(0, "", "cat", 0, {"iou_1": 0.5}), Row(1, "", "cat", 0, {"iou_1": 0.7})]
    found = report(rows)
    assert set(found.figures) == {"iou_1"}
    assert found.by["source"] == found.by["size"] == {}
    only_known = [row(0, "cat", "cat", unknown_score=0.1, removed=0)]
    assert "unknown_auroc" not in report(only_known).figures


def test_two_segmenters_side_by_side() -> None:
    first = [row(n, "cat", "dog", confidence=0.5, iou_1=0.5) for n in range(10)]
    second = [row(n, "cat", "cat", confidence=0.9, iou_1=0.6) for n in range(10)]
    found = compare(first, second)
    assert found["top_1"].difference.value == 1
    assert found["top_1"].p == pytest.approx(2 / 2**10)
    assert found["top_1"].test == "McNemar, exact"
    assert found["iou_1"].difference.value == pytest.approx(0.1)
    assert found["iou_1"].test == "paired bootstrap"
    assert found["calibration_error"].difference.value == pytest.approx(0.1 - 0.5)
    assert "unknown_auroc" not in found
    table = comparison_table(["plain", "grey"], found)
    assert table[0][:4] == ("", "plain", "grey", "difference")
    assert ("names: top-1", "0.000", "1.000", "+1.000") in [line[:4] for line in table]
    assert not math.isnan(found["top_1"].first)
