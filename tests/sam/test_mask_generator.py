"""Everything mode keeps what its options promise, and each object once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segzs.errors import PromptError
from segzs.image import Image
from segzs.masks import RLE, Mask, iou
from segzs.prompts import Prompt
from segzs.sam.decode import CHUNK, LowResMasks, decode_low_res, stability_score
from segzs.sam.encode import EncodedImage, encode
from segzs.sam.mask_generator import GeneratorOptions, _cleaned, generate_masks, nms_bitmaps
from segzs.sam.model import SamModel

MANY = GeneratorOptions(points_per_side=8, predicted_iou_threshold=0.3, stability_score_threshold=0.3)


@pytest.fixture(scope="module")
def encoded(tiny: SamModel, desk: Image) -> EncodedImage:
    return encode(tiny, desk)


@pytest.fixture(scope="module")
def every(tiny: SamModel, encoded: EncodedImage) -> list[Mask]:
    return generate_masks(tiny, encoded, MANY)


def codes(tiny: SamModel, encoded: EncodedImage, options: GeneratorOptions) -> list[RLE]:
    return [masks.rle for masks in generate_masks(tiny, encoded, options)]


def test_it_is_deterministic_and_sorted_by_area(tiny: SamModel, encoded: EncodedImage, every: list[Mask]) -> None:
    found = [masks.rle for masks in every]
    assert len(found) > 5
    assert found == codes(tiny, encoded, MANY)
    areas = [mask.area for mask in found]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize("nms_threshold", [0.3, 0.7, 0.9])
def test_no_object_twice(nms_threshold: float, tiny: SamModel, encoded: EncodedImage, every: list[Mask]) -> None:
    found = (
        every
        if nms_threshold == MANY.nms_threshold
        else generate_masks(tiny, encoded, replace(MANY, nms_threshold=nms_threshold))
    )
    height, width = encoded.input_size
    coarse = [RLE.encode(masks.low_res_logits[: height // 4, : width // 4] > 0) for masks in found]
    fine = [masks.rle for masks in found]
    assert len(found) > 5
    assert np.triu(iou(coarse, coarse), 1).max() <= nms_threshold + 1e-6
    assert np.triu(iou(fine, fine), 1).max() <= nms_threshold + 0.05  # duplicates are sought on the model's grid


def test_thresholds_are_respected(tiny: SamModel, encoded: EncodedImage, every: list[Mask]) -> None:
    middle_iou = float(np.median([masks.predicted_iou for masks in every]))
    middle_stability = float(np.median([masks.stability_score for masks in every]))
    sure = generate_masks(tiny, encoded, replace(MANY, predicted_iou_threshold=middle_iou))
    stable = generate_masks(tiny, encoded, replace(MANY, stability_score_threshold=middle_stability))
    assert 0 < len(sure) < len(every)
    assert 0 < len(stable) < len(every)
    assert all(masks.predicted_iou >= middle_iou for masks in sure)
    assert all(masks.stability_score >= middle_stability for masks in stable)


def test_the_stability_reported_is_the_one_asked_for(tiny: SamModel, encoded: EncodedImage, every: list[Mask]) -> None:
    """Masks are filtered on the model's grid first, where a mask may seem more stable than at the image's size."""
    height, width = (side // 4 for side in encoded.input_size)
    grid = np.stack([masks.low_res_logits[:height, :width] for masks in every])
    reported = np.array([masks.stability_score for masks in every])
    seeming = stability_score(torch.from_numpy(grid), 0.0).numpy()
    worst = (seeming - reported).argmax()
    between = float(seeming[worst] + reported[worst]) / 2
    assert seeming[worst] > between > reported[worst]
    kept = generate_masks(tiny, encoded, replace(MANY, stability_score_threshold=between))
    assert all(masks.stability_score >= between for masks in kept)


def test_padding_counts_for_nothing(tiny: SamModel, portrait: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the image a model may say what it likes: here, that both masks are there."""
    halves = torch.full((1, 4, 192, 192), -9.0)
    halves[:, 1, :96, :100] = 9
    halves[:, 2, 96:, :100] = 9
    halves[..., 100:] = 9
    monkeypatch.setattr("segzs.sam.mask_generator.decode_low_res", lambda *_: LowResMasks(halves, torch.ones(1, 4)))
    options = GeneratorOptions(1, predicted_iou_threshold=0.5, stability_score_threshold=0.9, nms_threshold=0.3)
    found = codes(tiny, encode(tiny, portrait), options)
    assert len(found) == 2
    assert sum(mask.area for mask in found) == pytest.approx(portrait.width * portrait.height, rel=0.03)


def test_the_models_own_thresholds_are_the_default(tiny: SamModel, encoded: EncodedImage) -> None:
    row = replace(tiny.spec, points_per_side=4, predicted_iou=0.5, stability_score=0.6)
    own = codes(replace(tiny, spec=row), encoded, GeneratorOptions())
    assert own == codes(tiny, encoded, GeneratorOptions(4, 0.5, 0.6)) != []


def test_small_masks_are_dropped(tiny: SamModel, encoded: EncodedImage, every: list[Mask]) -> None:
    areas = [masks.rle.area for masks in every]
    limit = int(np.median(areas)) + 1
    kept = [mask.area for mask in codes(tiny, encoded, replace(MANY, min_area=limit))]
    assert kept == [area for area in areas if area >= limit]


def test_max_masks_keeps_the_best(tiny: SamModel, encoded: EncodedImage, every: list[Mask]) -> None:
    best = sorted((float(masks.predicted_iou) for masks in every), reverse=True)[:3]
    kept = generate_masks(tiny, encoded, replace(MANY, max_masks=3))
    assert sorted((float(masks.predicted_iou) for masks in kept), reverse=True) == best


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("points", [1, 5])
def test_progress_grows_to_one(points: int, adaptive: bool, tiny: SamModel, encoded: EncodedImage) -> None:
    shares: list[float] = []
    generate_masks(tiny, encoded, GeneratorOptions(points, adaptive=adaptive), shares.append)
    assert shares == sorted(set(shares))
    assert shares[0] > 0
    assert shares[-1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [({"points_per_side": 0}, "points_per_side is 0"), ({"max_masks": 0}, "max_masks is 0; at least 1, or None")],
)
def test_impossible_options_are_refused(options: dict, complaint: str) -> None:
    with pytest.raises(PromptError, match=complaint):
        GeneratorOptions(**options)


def stacks() -> st.SearchStrategy[np.ndarray]:
    """Up to eight masks of 3 x 4 pixels, many of them alike."""
    return st.lists(st.integers(0, 2**12 - 1), min_size=1, max_size=8).map(
        lambda numbers: (np.array(numbers)[:, None] >> np.arange(12) & 1).astype(bool).reshape(-1, 3, 4)
    )


@settings(max_examples=200, deadline=None)
@given(masks=stacks(), limit=st.sampled_from([0.0, 0.2, 0.45, 0.7, 0.95, 1.0]), seed=st.integers(0, 1000))
def test_without_duplicates_equals_brute_force(masks: np.ndarray, limit: float, seed: int) -> None:
    scores = np.random.default_rng(seed).permutation(len(masks)) / len(masks)
    expected: list[int] = []
    for index in sorted(range(len(masks)), key=lambda i: -scores[i]):
        overlaps = [(masks[index] & masks[i]).sum() / (masks[index] | masks[i]).sum() for i in expected]
        if masks[index].any() and all(overlap <= limit for overlap in overlaps):
            expected.append(index)
    assert nms_bitmaps(torch.from_numpy(masks), torch.from_numpy(scores), limit) == expected


def test_without_duplicates_compares_masks_not_boxes() -> None:
    frame = torch.ones(20, 20, dtype=torch.bool)
    frame[2:18, 2:18] = False
    inside = ~frame
    assert nms_bitmaps(torch.stack([frame, inside, frame]), torch.tensor([0.5, 0.9, 0.8]), 0.7) == [1, 2]


def test_without_duplicates_of_nothing() -> None:
    assert nms_bitmaps(torch.zeros(0, 4, 4, dtype=torch.bool), torch.zeros(0), 0.7) == []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Prompt]:
    """Every prompt that everything mode asks."""
    seen: list[Prompt] = []

    def noting(sam: SamModel, encoded: EncodedImage, prompts: list[Prompt]) -> LowResMasks:
        seen.extend(prompts)
        return decode_low_res(sam, encoded, prompts)

    monkeypatch.setattr("segzs.sam.mask_generator.decode_low_res", noting)
    return seen


def test_an_adaptive_grid_asks_less_and_finds_the_same(
    tiny: SamModel, encoded: EncodedImage, asked: list[Prompt]
) -> None:
    full = codes(tiny, encoded, GeneratorOptions(points_per_side=24))
    assert len(asked) == len({prompt.points for prompt in asked}) == 576
    asked.clear()
    adaptive = codes(tiny, encoded, GeneratorOptions(points_per_side=24, adaptive=True))
    assert len(asked) == len({prompt.points for prompt in asked}) < 520
    assert (iou(full, adaptive).max(1) >= 0.9).mean() >= 0.9


@pytest.mark.parametrize(("mask", "count"), [(-9.0, 25), (9.0, 81)])
def test_an_adaptive_grid_is_dense_where_something_is(
    mask: float,
    count: int,
    tiny: SamModel,
    encoded: EncodedImage,
    asked: list[Prompt],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = torch.full((1, 4, *tiny.mask_size), mask)
    monkeypatch.setattr(
        "segzs.sam.mask_generator.decode_low_res",
        lambda sam, encoded, prompts: (
            asked.extend(prompts) or LowResMasks(answer.expand(len(prompts), -1, -1, -1), torch.ones(len(prompts), 4))
        ),
    )
    generate_masks(tiny, encoded, GeneratorOptions(points_per_side=9, adaptive=True))
    assert len(asked) == count


def test_what_progress_raises_ends_the_search(tiny: SamModel, encoded: EncodedImage, asked: list[Prompt]) -> None:
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_masks(tiny, encoded, GeneratorOptions(points_per_side=16), stop)
    assert len(asked) == CHUNK


def test_specks_and_pinholes_are_cleaned_away() -> None:
    mask = np.zeros((100, 100), bool)
    mask[20:80, 20:80] = True
    wanted = mask.copy()
    wanted[40:60, 40:60] = mask[40:60, 40:60] = False  # a hole that belongs to the object
    mask[25, 25] = False
    mask[5:8, 5:8] = mask[95, 95] = True
    cleaned = _cleaned(Mask(RLE.encode(mask), 1.0, 1.0))
    assert (cleaned.rles[0].decode() == wanted).all()


def test_an_empty_mask_stays_empty() -> None:
    empty = Mask(RLE.encode(np.zeros((9, 9), bool)), 1.0, 1.0)
    assert _cleaned(empty).rles[0].area == 0


def test_what_may_be_an_object_is_no_speck_and_what_reaches_the_border_no_pinhole() -> None:
    mask = np.ones((400, 400), bool)
    mask[:9, :9] = False  # a notch in the corner
    mask[200:220, 200:220] = False  # an object on a table
    mask[:, 350:360] = False
    mask[:, 362:] = False
    mask[100:120, 370:390] = True
    cleaned = _cleaned(Mask(RLE.encode(mask), 1.0, 1.0))
    assert (cleaned.rles[0].decode() == mask).all()
