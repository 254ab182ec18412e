"""Which masks are objects: what SAM and CLIP make of them together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import segzs
from segzs.checkpoints.registry import SAMS
from segzs.masks import RLE
from segzs.postprocess.selection import select_masks
from segzs.sam.mask_generator import GeneratorOptions, generate_masks
from tests.conftest import EXAMPLES

SAM, FAMILIAR = replace(SAMS["tiny"], predicted_iou=0.6, stability_score=0.6), 0.3


def mask(box: tuple[int, int, int, int], predicted_iou: float = 0.7, stability: float = 0.7) -> Masks:
    x1, y1, x2, y2 = box
    filled = np.zeros((100, 100), bool)
    filled[y1:y2, x1:x2] = True
    return Masks((RLE.encode(filled),), np.array([predicted_iou]), np.array([stability]), np.zeros((1, 4, 4)))


def kept(familiarity: list[float], *masks: Masks) -> list[int]:
    return select_masks(masks, torch.tensor(familiarity), SAM, FAMILIAR)


def test_what_clip_knows_may_be_less_certain_to_sam() -> None:
    here, there, elsewhere = (0, 0, 20, 20), (30, 30, 50, 50), (60, 60, 80, 80)
    assert kept([0.6, 0.2, 0.6], mask(here, 0.5, 0.4), mask(there, 0.5, 0.4), mask(elsewhere, 0.1, 0.1)) == [0]
    assert kept([0.1, 0.1], mask(here, 0.99, 0.99), mask(there, 0.6, 0.6)) == [0]
    assert kept([0.3, 0.4], mask(here), mask(there)) == [1, 0]
    assert kept([]) == []


@pytest.mark.parametrize(
    ("inner", "outer", "stay"),
    [
        ((0.4, 0.6), (0.5, 0.9), [1]),  # a part of it
        ((0.5, 0.6), (0.4, 0.9), [1, 0]),  # an object that lies on it
        ((0.5, 0.9), (0.4, 0.6), [0]),  # it and something else, taken for one
        ((0.4, 0.9), (0.6, 0.6), [0, 1]),  # a part that SAM is surer of than of the whole: merging by names sees to it
    ],
)
def test_of_two_inside_each_other(inner: tuple[float, float], outer: tuple[float, float], stay: list[int]) -> None:
    masks = mask((20, 20, 40, 40), inner[1]), mask((10, 10, 60, 60), outer[1])
    assert kept([inner[0], outer[0]], *masks) == stay


@pytest.fixture(scope="module")
def picnic(segmenter: segzs.Segmenter) -> segzs.EncodedImage:
    return segmenter.encode(EXAMPLES / "picnic.png")


def test_everything_takes_what_clip_recognises(segmenter: segzs.Segmenter, picnic: segzs.EncodedImage) -> None:
    found = segmenter.everything(picnic, merge=False)
    own = segmenter.sam.spec
    assert any(each.predicted_iou < own.predicted_iou or each.stability_score < own.stability_score for each in found)
    assert [each.name for each in found] == [each.name for each in segmenter.name(found)]
    assert list(found) == sorted(found, key=lambda each: -each.area)
    best = segmenter.everything(picnic, merge=False, max_masks=3)
    assert len(best) == 3
    assert {each.rle for each in best} < {each.rle for each in found}


def test_sam_alone_decides_where_it_is_told_or_the_clip_cannot(
    segmenter: segzs.Segmenter, picnic: segzs.EncodedImage
) -> None:
    own = segmenter.sam.spec
    sure = segmenter.everything(
        picnic, predicted_iou=own.predicted_iou, stability_score=own.stability_score, merge=False
    )
    assert all(each.predicted_iou >= own.predicted_iou and each.stability_score >= own.stability_score for each in sure)
    unable = with_familiar(segmenter, None)
    other = replace(segmenter, sam=replace(segmenter.sam, spec=replace(own, chosen_by_clip=False)))
    for alone in (replace(segmenter, naming="pooled"), unable, other):
        assert [each.rle for each in alone.everything(picnic, merge=False)] == [each.rle for each in sure]


def test_an_unfamiliar_picture_is_said_even_if_nothing_is_recognised(
    segmenter: segzs.Segmenter, picnic: segzs.EncodedImage
) -> None:
    with pytest.warns(segzs.UnfamiliarWarning):
        assert not with_familiar(segmenter, 2.0).everything(picnic)


def test_an_adaptive_search_looks_around_what_sam_is_sure_of(
    segmenter: segzs.Segmenter, picnic: segzs.EncodedImage
) -> None:
    shares: tuple[list[float], list[float]] = [], []
    for lenient, done in zip((False, True), shares, strict=True):
        generate_masks(segmenter.sam, picnic, GeneratorOptions(8, adaptive=True), done.append, lenient=lenient)
    assert shares[0] == shares[1]


def with_familiar(segmenter: segzs.Segmenter, familiar: float | None) -> segzs.Segmenter:
    clip = replace(segmenter.clip, spec=replace(segmenter.clip.spec, familiar=familiar))
    return replace(segmenter, classifier=replace(segmenter.classifier, clip=clip))
