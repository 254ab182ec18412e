"""select_masks: the masks that are objects, by the scores of SAM and CLIP together."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

import segzs
from segzs.masks import RLE, Mask
from segzs.postprocess.selection import select_masks
from segzs.sam.mask_generator import GeneratorOptions, generate_masks
from tests.conftest import EXAMPLES

pytestmark = pytest.mark.filterwarnings("ignore::segzs.UnfamiliarWarning")


def mask(box: tuple[int, int, int, int], predicted_iou: float = 0.7, stability_score: float = 0.7) -> Mask:
    x1, y1, x2, y2 = box
    filled = np.zeros((100, 100), bool)
    filled[y1:y2, x1:x2] = True
    return Mask(RLE.encode(filled), predicted_iou, stability_score)


def kept(similarity: list[float], *masks: Mask) -> list[int]:
    return select_masks(
        masks,
        np.array(similarity),
        predicted_iou_threshold=0.6,
        stability_score_threshold=0.6,
        object_threshold=0.3,
    )


def test_a_mask_that_clip_recognises_may_have_lower_scores() -> None:
    here, there, elsewhere = (0, 0, 20, 20), (30, 30, 50, 50), (60, 60, 80, 80)
    assert kept([0.6, 0.2, 0.6], mask(here, 0.5, 0.4), mask(there, 0.5, 0.4), mask(elsewhere, 0.1, 0.1)) == [0]
    assert kept([0.1, 0.1], mask(here, 0.99, 0.99), mask(there, 0.6, 0.6)) == [0]
    assert kept([0.3, 0.4], mask(here), mask(there)) == [1, 0]
    assert kept([]) == []


@pytest.mark.parametrize(
    ("inner", "outer", "stay"),
    [
        ((0.4, 0.6), (0.5, 0.9), [1]),  # a part of an object
        ((0.5, 0.6), (0.4, 0.9), [1, 0]),  # an object that lies on another
        ((0.5, 0.9), (0.4, 0.6), [0]),  # two objects in one mask
        ((0.53, 0.6), (0.5, 0.9), [1]),  # a part that is hardly better than its object
        ((0.53, 0.9), (0.5, 0.6), [0, 1]),  # an object that is hardly worse than its part
        (
            (0.4, 0.9),
            (0.6, 0.6),
            [0, 1],
        ),  # a part with a higher predicted IoU than its object: merging by names drops it
    ],
)
def test_of_two_nested_masks_the_likelier_object_is_kept(
    inner: tuple[float, float], outer: tuple[float, float], stay: list[int]
) -> None:
    masks = mask((20, 20, 40, 40), inner[1]), mask((10, 10, 60, 60), outer[1])
    assert kept([inner[0], outer[0]], *masks) == stay


@pytest.fixture(scope="module")
def picnic(segmenter: segzs.Segmenter) -> segzs.EncodedImage:
    return segmenter.encode(EXAMPLES / "picnic.png")


@pytest.mark.slow
def test_everything_keeps_masks_that_clip_recognises(segmenter: segzs.Segmenter, picnic: segzs.EncodedImage) -> None:
    own = replace(segmenter.sam.spec, predicted_iou=0.8, stability_score=0.7)
    segmenter = replace(segmenter, sam=replace(segmenter.sam, spec=own))
    segments = segmenter.everything(picnic, merge=False)
    assert any(
        each.predicted_iou < own.predicted_iou or each.stability_score < own.stability_score for each in segments
    )
    assert [each.name for each in segments] == [each.name for each in segmenter.name(segments)]
    assert list(segments) == sorted(segments, key=lambda each: -each.area)
    best = segmenter.everything(picnic, merge=False, max_masks=3)
    assert len(best) == 3
    assert {each.rle for each in best} < {each.rle for each in segments}


@pytest.mark.slow
def test_without_clip_the_thresholds_of_sam_select(segmenter: segzs.Segmenter, picnic: segzs.EncodedImage) -> None:
    own = segmenter.sam.spec
    expected = segmenter.everything(
        picnic,
        predicted_iou_threshold=own.predicted_iou,
        stability_score_threshold=own.stability_score,
        merge=False,
    )
    assert min(each.predicted_iou for each in expected) >= own.predicted_iou
    assert min(each.stability_score for each in expected) >= own.stability_score
    unable = with_ood_threshold(segmenter, None)
    other = replace(segmenter, sam=replace(segmenter.sam, spec=replace(own, chosen_by_clip=False)))
    pooled = replace(segmenter, region_encoder=replace(segmenter.region_encoder, regions="pooled"))
    for alone in (pooled, unable, other):
        assert [each.rle for each in alone.everything(picnic, merge=False)] == [each.rle for each in expected]


@pytest.mark.slow
def test_an_unfamiliar_image_gives_a_warning_even_without_segments(
    segmenter: segzs.Segmenter, picnic: segzs.EncodedImage
) -> None:
    with pytest.warns(segzs.UnfamiliarWarning):
        assert not with_ood_threshold(segmenter, 2.0).everything(picnic)


@pytest.mark.slow
def test_an_adaptive_search_follows_the_thresholds_of_sam_alone(
    segmenter: segzs.Segmenter, picnic: segzs.EncodedImage
) -> None:
    sam = replace(segmenter.sam, module=deepcopy(segmenter.sam.module))
    sam.module.point_head = None  # so that a grid of points is prompted
    shares: tuple[list[float], list[float]] = [], []
    for lenient, done in zip((False, True), shares, strict=True):
        generate_masks(sam, picnic, GeneratorOptions(8, adaptive=True), done.append, lenient=lenient)
    assert shares[0] == shares[1]


def with_ood_threshold(segmenter: segzs.Segmenter, threshold: float | None) -> segzs.Segmenter:
    clip = replace(
        segmenter.clip, spec=replace(segmenter.clip.spec, ood_threshold=threshold, object_threshold=threshold)
    )
    return replace(segmenter, classifier=replace(segmenter.classifier, clip=clip))
