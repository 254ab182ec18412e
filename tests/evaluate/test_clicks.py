from dataclasses import dataclass, field

import numpy as np
import pytest

import segzs
from segzs.evaluate import clicks
from segzs.evaluate.clicks import clicks_to, iou_of_boxes, iou_of_clicks, next_click
from segzs.masks import RLE, Mask
from segzs.prompts import Prompt
from tests.conftest import read_scene

SHAPE = (40, 60)


def square(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[y1:y2, x1:x2] = True
    return mask


def test_the_first_click_is_in_the_middle_of_the_object() -> None:
    assert next_click(square(10, 5, 31, 26), np.zeros(SHAPE, bool)) == (20, 15, True)


def test_the_next_click_is_in_the_larger_error() -> None:
    truth = square(10, 5, 31, 26)
    too_much = truth | square(40, 10, 55, 25)
    assert next_click(truth, too_much) == (47, 17, False)
    too_little = truth & ~square(10, 5, 19, 26)
    x, y, positive = next_click(truth, too_little)  # type: ignore[misc]
    assert (x, positive) == (14, True)
    assert 9 <= y <= 21
    assert next_click(truth, truth) is None


def test_the_border_of_the_image_is_an_edge() -> None:
    assert next_click(square(0, 0, 11, 40), np.zeros(SHAPE, bool))[0] == 5  # type: ignore[index]


def test_no_pixel_is_clicked_twice() -> None:
    truth, nothing = square(10, 10, 13, 13), np.zeros(SHAPE, bool)
    made: list[clicks.Click] = []
    while (click := next_click(truth, nothing, made)) is not None:
        made.append(click)
    assert len(set(made)) == len(made) == 9


def test_clicks_to_an_iou() -> None:
    ious = np.array([[0.9, 0.9, 0.9], [0.5, 0.85, 0.8], [0.1, 0.2, 0.3]])
    assert clicks_to(ious, 0.85).tolist() == [1, 2, 3]
    assert clicks_to(ious, 0.9).tolist() == [1, 3, 3]


@dataclass
class Painter:
    """Returns a row more of the object for each positive click, and records the prompts."""

    truths: list[np.ndarray]
    calls: list[list[Prompt]] = field(default_factory=list)

    def __call__(self, sam: object, encoded: object, prompts: list[Prompt]) -> list[Mask]:
        self.calls.append(prompts)
        return [self.answer(prompt) for prompt in prompts]

    def answer(self, prompt: Prompt) -> tuple[Mask, ...]:
        x, y = prompt.points[0]
        truth = next(truth for truth in self.truths if truth[int(y), int(x)])
        rows = np.flatnonzero(truth.any(1))[: len(prompt.points)]
        answer = np.zeros_like(truth)
        answer[rows] = truth[rows]
        return (Mask(RLE.encode(answer), 1.0, 1.0, np.full((4, 4), len(prompt.points), np.float32)),)


def test_clicks_end_at_the_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    truths = [square(5, 5, 15, 9), square(30, 10, 40, 30)]
    painter = Painter(truths)
    monkeypatch.setattr(clicks, "decode", painter)
    ious = iou_of_clicks(None, None, [RLE.encode(truth) for truth in truths], clicks=12, goal=0.5, minimum=3)  # type: ignore[arg-type]
    assert ious.shape == (2, 12)
    assert ious[0].tolist() == [
        0.25,
        0.5,
        0.75,
        *[0.75] * 9,
    ]  # at the goal after two clicks of three
    assert ious[1] == pytest.approx([*np.arange(1, 11) / 20, 0.5, 0.5])
    assert [len(prompts) for prompts in painter.calls] == [2, 2, 2, *[1] * 7]  # one call for all objects
    first, second, third = (prompts[0] for prompts in painter.calls[:3])
    assert first.mask is None
    assert (second.mask, third.mask) == (pytest.approx(1), pytest.approx(2))  # the logits of the last mask
    assert third.points[:2] == second.points
    assert all(third.positive)


def test_a_perfect_mask_is_not_clicked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    truths = [square(5, 5, 15, 7)]
    painter = Painter(truths)
    monkeypatch.setattr(clicks, "decode", painter)
    ious = iou_of_clicks(None, None, [RLE.encode(truths[0])], clicks=6, goal=2)  # type: ignore[arg-type]
    assert ious.tolist() == [[0.5, *[1] * 5]]
    assert len(painter.calls) == 2


@pytest.mark.slow
def test_values_equal_those_of_each_object_alone_with_all_clicks(segmenter: segzs.Segmenter) -> None:
    """Decoding objects together and ending at the goal are shortcuts: no reported value depends on them."""
    desk = read_scene("desk")
    encoded, truths = segmenter.encode(desk.path), desk.masks[:4]
    together = iou_of_clicks(segmenter.sam, encoded, truths, clicks=8)
    alone = np.concatenate([iou_of_clicks(segmenter.sam, encoded, [one], clicks=8, goal=2) for one in truths])
    assert (alone[:, -1] >= 0.9).any()
    assert together[:, :5] == pytest.approx(alone[:, :5], abs=1e-3)
    for goal in (0.85, 0.9):
        assert clicks_to(together, goal).tolist() == clicks_to(alone, goal).tolist()


@pytest.mark.slow
def test_more_clicks_make_better_masks(segmenter: segzs.Segmenter) -> None:
    toolbox, desk = read_scene("toolbox"), read_scene("desk")
    ious = iou_of_clicks(segmenter.sam, segmenter.encode(toolbox.path), toolbox.masks, clicks=5)
    assert ious[:, 4].mean() > ious[:, 0].mean() + 0.1
    assert ious[:, 4].mean() > 0.8
    assert iou_of_boxes(segmenter, segmenter.encode(desk.path), desk.masks).mean() > 0.8
