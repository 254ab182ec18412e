"""Prompt: one value for one object, checked when it is made."""

from __future__ import annotations

import pickle
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segzs import Prompt, PromptError, PromptWarning
from segzs.prompts import check_prompts, warn_about_empty, warn_about_units


def test_a_prompt_has_points_signs_and_a_box() -> None:
    prompt = Prompt(points=[(4, 3), (1, 2)], positive=[True, False], box=(0, 1, 8, 9))
    assert prompt.points == ((4.0, 3.0), (1.0, 2.0))
    assert prompt.positive == (True, False)
    assert prompt.box == (0.0, 1.0, 8.0, 9.0)


def test_points_are_positive_by_default() -> None:
    assert Prompt([(4, 3), (1, 2)]).positive == (True, True)
    assert Prompt.point(4, 3) == Prompt([(4, 3)], [True])


@pytest.mark.parametrize("wrap", [np.array, torch.tensor, list, tuple])
def test_arrays_tensors_lists_and_tuples_are_accepted(wrap: Any) -> None:
    prompt = Prompt(points=wrap([[4.5, 3], [1, 2]]), positive=wrap([1, 0]), box=wrap([0, 1, 8, 9]))
    assert prompt == Prompt([(4.5, 3), (1, 2)], [True, False], (0, 1, 8, 9))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "the prompt is empty"),
        ({"points": [(1, 2)], "positive": [False]}, "the prompt is empty"),
        ({"points": (420, 310)}, "420 is not a point"),
        ({"points": 5}, "5 is not a list of points"),
        ({"points": None}, "None is not a list"),
        ({"points": [(1, 2, 3)]}, r"\(1, 2, 3\)"),
        ({"points": [(1,)]}, "2 finite numbers"),
        ({"points": [("a", 2)]}, "'a'"),
        ({"points": [(1, float("nan"))]}, "nan"),
        ({"points": [(float("inf"), 1)]}, "inf"),
        ({"points": [(10**400, 1)]}, "not a point"),
        ({"points": [(1, 2), (3, 4)], "positive": [True]}, "2 points have 1"),
        ({"points": [(1, 2)], "positive": ["-"]}, "the sign of a point is '-'"),
        ({"points": [(1, 2)], "positive": [-1]}, "the sign of a point is -1"),
        ({"points": [(1, 2)], "positive": 1}, "1 is not a list of signs"),
        ({"box": (1, 2, 3)}, "4 finite numbers"),
        ({"box": (1, 2, 3, None)}, "None"),
        ({"box": (9, 2, 3, 4)}, "x1 < x2"),
        ({"box": (1, 2, 1, 4)}, "empty"),
        ({"box": 5}, "5 is not a box"),
        ({"mask": np.zeros((1, 4, 4))}, r"\(1, 4, 4\)"),
        ({"mask": np.full((4, 4), np.nan)}, "finite"),
        ({"mask": "a mask"}, "low-res logits"),
        ({"mask": [[1], [1, 2]]}, "low-res logits"),
    ],
)
def test_empty_and_malformed_prompts_are_refused(arguments: dict, says: str) -> None:
    with pytest.raises(PromptError, match=says):
        Prompt(**arguments)


def test_numbers_behind_a_mask_are_refused() -> None:
    for arguments in ({"mask": np.ones((4, 4))}, {"points": [(1, 1)]}, {"box": (1, 1, 9, 9)}):
        ((name, values),) = arguments.items()
        with pytest.raises(PromptError, match="are masked; give numbers"):
            Prompt(**{name: np.ma.masked_array(values, np.ones(np.shape(values)))})


def test_messages_about_large_values_are_short_and_of_one_line() -> None:
    for call in (lambda: Prompt(box=np.ones((99, 9))), lambda: Prompt(points=np.ones((2, 99, 9)))):
        with pytest.raises(PromptError) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200


def test_prompts_are_equal_if_all_their_parts_are() -> None:
    logits = np.linspace(-4, 4, 16).reshape(4, 4)
    assert Prompt(mask=logits) == Prompt(mask=logits.astype(np.float32))
    assert len({Prompt(mask=logits), Prompt(mask=logits.copy()), Prompt(mask=-logits), Prompt.point(1, 1)}) == 3
    assert Prompt.box(1, 1, 2, 2) != Prompt([(1, 1)], box=(1, 1, 2, 2))


def test_a_mask_is_a_read_only_copy() -> None:
    logits = np.ones((4, 4), np.float32)
    prompt = Prompt(mask=logits)
    logits[:] = -1
    assert prompt.mask is not None
    assert prompt.mask.min() == 1
    with pytest.raises(ValueError, match="read-only"):
        prompt.mask[0, 0] = 2


def test_point_and_box_take_numbers_or_one_sequence() -> None:
    assert Prompt.point(4, 3) == Prompt.point((4, 3)) == Prompt.point(np.array([4, 3])) == Prompt([(4, 3)])
    assert (
        Prompt.box(0, 1, 8, 9)
        == Prompt.box([0, 1, 8, 9])
        == Prompt.box(np.array([0, 1, 8, 9]))
        == Prompt(box=(0, 1, 8, 9))
    )
    for wrong in ((), (4,), (4, 3, 2), ([4, 3], 2)):
        with pytest.raises(PromptError, match="is not a point"):
            Prompt.point(*wrong)
    for wrong in ((), (4,), (4, 3, 2), ([4, 3, 2, 1], 2)):
        with pytest.raises(PromptError, match="is not a box"):
            Prompt.box(*wrong)


def test_copies_are_equal_and_their_masks_read_only() -> None:
    prompt = Prompt([(1, 2)], [False], (0, 0, 4, 4), np.ones((4, 4)))
    for copy in (pickle.loads(pickle.dumps(prompt)), deepcopy(prompt)):
        assert copy == prompt
        assert copy.mask is not None
        with pytest.raises(ValueError, match="read-only"):
            copy.mask[0, 0] = 2


@pytest.mark.parametrize("point", [(-0.5, 3), (10, 3), (3, 5), (3, -1), (1e9, 1e9)])
def test_points_outside_the_image_are_refused(point: tuple[float, float]) -> None:
    with pytest.raises(PromptError, match="outside the image of 10x5"):
        Prompt([(1, 1), point], [True, False]).inside(10, 5)


@pytest.mark.parametrize("box", [(10, 0, 12, 5), (0, 5, 3, 9), (-5, 0, 0, 5), (0, -9, 3, -1)])
def test_boxes_outside_the_image_are_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(PromptError, match="outside the image of 10x5"):
        Prompt.box(*box).inside(10, 5)


coordinates = st.floats(-100, 100)


@given(coordinates, coordinates, coordinates, coordinates)
def test_a_box_is_clipped_to_the_image(x1: float, y1: float, x2: float, y2: float) -> None:
    try:
        cut = Prompt.box(x1, y1, x2, y2).inside(40, 30).box
    except PromptError:
        assert max(x1, 0) >= min(x2, 40) or max(y1, 0) >= min(y2, 30)
    else:
        assert cut == (max(x1, 0), max(y1, 0), min(x2, 40), min(y2, 30))


def test_clipping_the_box_keeps_the_other_parts() -> None:
    prompt = Prompt([(1, 2)], [False], (-3, -3, 4, 4), np.ones((4, 4)))
    assert prompt.inside(10, 10) == Prompt([(1, 2)], [False], (0, 0, 4, 4), np.ones((4, 4)))


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (Prompt.box(0.1, 0.25, 0.5, 1), r"first pixel.*\(10, 12, 50, 50\)"),
        (Prompt.point(0.5, 0.5), r"first pixel.*\(50, 25\)"),
        (Prompt.box(20.1, 7, 20.5, 9), "smaller than a pixel"),
    ],
)
def test_shares_instead_of_pixels_give_a_warning(prompt: Prompt, says: str) -> None:
    with pytest.warns(PromptWarning, match=says):
        warn_about_units([prompt], 100, 50)


def test_small_prompts_in_pixels_give_no_warning() -> None:
    warn_about_units([Prompt.point(0, 0), Prompt.point(1, 0.5), Prompt.box(0, 0, 2, 1), Prompt.box(3, 3, 4, 4)], 9, 9)


def test_corners_of_the_image_and_its_first_pixel_are_inside() -> None:
    prompt = Prompt([(0, 0), (9.9, 4.9)])
    assert prompt.inside(10, 5) is prompt
    assert Prompt.box(0, 0, 1, 1).inside(1, 1) == Prompt.box(0, 0, 1, 1)


@pytest.mark.parametrize("box", [(3, 2, 3, 5), (3, 2, 7, 2), (7, 2, 3, 5), (3, 5, 7, 2)])
def test_boxes_without_an_area_are_refused(box: tuple[int, ...]) -> None:
    with pytest.raises(PromptError, match="is empty"):
        Prompt.box(*box)


def test_one_prompt_stands_for_a_list_of_one() -> None:
    point, box = Prompt.point(1, 2), Prompt.box(1, 2, 3, 4)
    assert check_prompts(point) == [point]
    assert check_prompts(iter([point, box])) == [point, box]
    for wrong in (None, 5, [None], [(1, 2)], "point"):
        with pytest.raises(PromptError, match="is not a Prompt"):
            check_prompts(wrong)
    with pytest.raises(PromptError, match="a mask alone"):
        check_prompts(Prompt(mask=np.zeros((4, 4))))


def test_prompts_with_empty_masks_give_one_warning() -> None:
    prompts = [Prompt.point(number, 0) for number in range(3)]
    with pytest.warns(PromptWarning, match=r"the mask of 2 prompts is empty, the first is .*1\.0, 0\.0") as given:
        warn_about_empty(prompts, [5, 0, 0])
    assert len(given) == 1
    warn_about_empty(prompts, [5, 1, 9])


def test_a_box_that_is_thin_in_one_direction_gives_a_warning() -> None:
    for box in ((2, 3, 2.5, 9), (2, 3, 9, 3.5), (0, 0.5, 5, 1)):
        with pytest.warns(PromptWarning, match="smaller than a pixel"):
            warn_about_units([Prompt.box(*box)], 10, 10)
    with pytest.warns(PromptWarning, match="first pixel"):
        warn_about_units([Prompt.box(0, 0, 1, 1)], 10, 10)
