import json

import pytest

from segzs.evaluate.measure import Row
from segzs.evaluate.report import TITLES, report


def row(image: int, name: str, answer: str, source: str = "a", area: int = 5000, **values: float) -> Row:
    right = float(name == answer)
    return Row(image, source, name, area, {"top_1": right, "answered": right, **values}, answer)


ROWS = [
    row(0, "cat", "cat", area=100, confidence=0.9, unknown_score=0.1, removed=0),
    row(0, "cat", "dog", area=2000, confidence=0.6, unknown_score=0.2, removed=0),
    row(1, "dog", "dog", "b", area=20000, confidence=0.8, unknown_score=0.9, removed=1),
    row(2, "cat", "dog", "b", area=20000, confidence=0.7, unknown_score=0.15, removed=1),
]


def test_a_report_by_hand() -> None:
    result = report(ROWS, {"data": "here"})
    assert result.figures["top_1"].value == 0.5
    assert result.figures["unknown_auroc"].value == 0.75
    assert result.figures["calibration_error"].value == pytest.approx((0.1 + 0.6 + 0.2 + 0.7) / 4)
    assert {group: figures["top_1"].value for group, figures in result.by["source"].items()} == {"a": 0.5, "b": 0.5}
    assert {group: figures["top_1"].value for group, figures in result.by["size"].items()} == {
        "small": 1,
        "medium": 0,
        "large": 0.5,
    }
    assert result.by["category"]["cat"]["top_1"].value == pytest.approx(1 / 3)
    assert result.confusions == (("cat", "dog", 2),)
    assert list(result.figures) == [key for key in TITLES if key in result.figures]


def test_its_forms_hold_the_same_figures() -> None:
    result = report(ROWS, {"data": "here"})
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["data"] == "here"
    assert plain["figures"]["top_1"]["value"] == 0.5
    assert plain["by_source"]["b"]["top_1"]["count"] == 2
    assert plain["confusions"] == [{"name": "cat", "answer": "dog", "count": 2}]
    table = result.table()
    assert table[0][4:] == ("a (source)", "b (source)", "small (size)", "medium (size)", "large (size)")
    assert table[1][:2] == ("names: top-1", "0.500")
    page = result.markdown()
    assert "| names: top-1 | 0.500 |" in page
    assert "| cat | dog | 2 |" in page
    assert "| cat | 3 |" in page


def test_what_was_not_measured_is_not_reported() -> None:
    rows = [Row(0, "", "cat", 0, {"iou_1": 0.5}), Row(1, "", "cat", 0, {"iou_1": 0.7})]
    result = report(rows)
    assert set(result.figures) == {"iou_1"}
    assert result.by["source"] == result.by["size"] == {}
    without_removed = [row(0, "cat", "cat", unknown_score=0.1, removed=0)]
    assert "unknown_auroc" not in report(without_removed).figures
