"""Everything mode: its options, duplicates, the adaptive grid and progress."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from segzs.errors import PromptError
from segzs.image import Image
from segzs.masks import RLE, Mask, iou
from segzs.prompts import Prompt
from segzs.sam.decode import CHUNK, decode_low_res, stability_score
from segzs.sam.encode import EncodedImage, encode
from segzs.sam.mask_generator import GeneratorOptions, _cleaned, generate_masks
from segzs.sam.model import SamModel
from segzs.sam.networks.network import LowResMasks

MANY = GeneratorOptions(points_per_side=8, predicted_iou_threshold=0.3, stability_score_threshold=0.3)


@pytest.fixture(scope="module")
def encoded(tiny: SamModel, desk: Image) -> EncodedImage:
    return encode(tiny, desk)


@pytest.fixture(scope="module")
def headless(tiny: SamModel) -> SamModel:
    """The embedded SAM without its head for cheap masks, so that each point is a prompt of the decoder."""
    module = deepcopy(tiny.module)
    del module.point_head
    return replace(tiny, module=module)


@pytest.fixture(scope="module")
def every(tiny: SamModel, encoded: EncodedImage) -> list[Mask]:
    return generate_masks(tiny, encoded, MANY)


def codes(tiny: SamModel, encoded: EncodedImage, options: GeneratorOptions) -> list[RLE]:
    return [mask.rle for mask in generate_masks(tiny, encoded, options)]


def test_masks_are_deterministic_and_sorted_by_area(tiny: SamModel, encoded: EncodedImage, every: list[Mask]) -> None:
    masks = [mask.rle for mask in every]
    assert len(masks) > 5
    assert masks == codes(tiny, encoded, MANY)
    areas = [mask.area for mask in masks]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize("nms_threshold", [0.3, 0.7, 0.9])
def test_no_two_masks_overlap_more_than_the_threshold(
    nms_threshold: float, tiny: SamModel, encoded: EncodedImage, every: list[Mask]
) -> None:
    masks = (
        every
        if nms_threshold == MANY.nms_threshold
        else generate_masks(tiny, encoded, replace(MANY, nms_threshold=nms_threshold))
    )
    height, width = encoded.input_size
    coarse = [RLE.encode(mask.low_res_logits[: height // 4, : width // 4] > 0) for mask in masks]
    fine = [mask.rle for mask in masks]
    assert len(masks) > 5
    assert np.triu(iou(coarse, coarse), 1).max() <= nms_threshold + 1e-6
    assert np.triu(iou(fine, fine), 1).max() <= nms_threshold + 0.05  # most duplicates are dropped on the model's grid


def test_masks_reach_the_score_thresholds(tiny: SamModel, encoded: EncodedImage, every: list[Mask]) -> None:
    middle_iou = float(np.median([mask.predicted_iou for mask in every]))
    middle_stability = float(np.median([mask.stability_score for mask in every]))
    confident = generate_masks(tiny, encoded, replace(MANY, predicted_iou_threshold=middle_iou))
    stable = generate_masks(tiny, encoded, replace(MANY, stability_score_threshold=middle_stability))
    assert 0 < len(confident) < len(every)
    assert 0 < len(stable) < len(every)
    assert all(mask.predicted_iou >= middle_iou for mask in confident)
    assert all(mask.stability_score >= middle_stability for mask in stable)


def test_the_stability_score_at_full_size_reaches_the_threshold(
    tiny: SamModel, encoded: EncodedImage, every: list[Mask]
) -> None:
    """Masks are first filtered on the model's grid, where the score may be higher than at the size of the image."""
    height, width = (side // 4 for side in encoded.input_size)
    grid = np.stack([mask.low_res_logits[:height, :width] for mask in every])
    full_size = np.array([mask.stability_score for mask in every])
    low_res = stability_score(torch.from_numpy(grid), 0.0).numpy()
    worst = (low_res - full_size).argmax()
    between = float(low_res[worst] + full_size[worst]) / 2
    assert low_res[worst] > between > full_size[worst]
    kept = generate_masks(tiny, encoded, replace(MANY, stability_score_threshold=between))
    assert all(mask.stability_score >= between for mask in kept)


def test_padding_is_ignored(headless: SamModel, portrait: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the padding, both masks are positive."""
    halves = torch.full((1, 4, 192, 192), -9.0)
    halves[:, 1, :96, :100] = 9
    halves[:, 2, 96:, :100] = 9
    halves[..., 100:] = 9
    monkeypatch.setattr("segzs.sam.mask_generator.decode_low_res", lambda *_: LowResMasks(halves, torch.ones(1, 4)))
    options = GeneratorOptions(1, predicted_iou_threshold=0.5, stability_score_threshold=0.9, nms_threshold=0.3)
    masks = codes(headless, encode(headless, portrait), options)
    assert len(masks) == 2
    assert sum(mask.area for mask in masks) == pytest.approx(portrait.width * portrait.height, rel=0.03)


def test_the_thresholds_of_the_model_are_the_default(tiny: SamModel, encoded: EncodedImage) -> None:
    spec = replace(tiny.spec, points_per_side=4, predicted_iou=0.5, stability_score=0.6)
    default = codes(replace(tiny, spec=spec), encoded, GeneratorOptions())
    assert default == codes(tiny, encoded, GeneratorOptions(4, 0.5, 0.6)) != []


def test_small_masks_are_dropped(tiny: SamModel, encoded: EncodedImage, every: list[Mask]) -> None:
    areas = [masks.rle.area for masks in every]
    limit = int(np.median(areas)) + 1
    kept = [mask.area for mask in codes(tiny, encoded, replace(MANY, min_area=limit))]
    assert kept == [area for area in areas if area >= limit]


def test_max_masks_keeps_the_masks_with_the_highest_predicted_iou(
    tiny: SamModel, encoded: EncodedImage, every: list[Mask]
) -> None:
    best = sorted((float(mask.predicted_iou) for mask in every), reverse=True)[:3]
    kept = generate_masks(tiny, encoded, replace(MANY, max_masks=3))
    assert sorted((float(mask.predicted_iou) for mask in kept), reverse=True) == best


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
def test_options_out_of_range_are_refused(options: dict, complaint: str) -> None:
    with pytest.raises(PromptError, match=complaint):
        GeneratorOptions(**options)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Prompt]:
    """Every prompt that everything mode decodes."""
    seen: list[Prompt] = []

    def noting(sam: SamModel, encoded: EncodedImage, prompts: list[Prompt]) -> LowResMasks:
        seen.extend(prompts)
        return decode_low_res(sam, encoded, prompts)

    monkeypatch.setattr("segzs.sam.mask_generator.decode_low_res", noting)
    return seen


@pytest.mark.slow
def test_an_adaptive_grid_decodes_fewer_prompts_for_the_same_masks(
    headless: SamModel, encoded: EncodedImage, decoded: list[Prompt]
) -> None:
    full = codes(headless, encoded, GeneratorOptions(points_per_side=16, adaptive=False))
    assert len(decoded) == len({prompt.points for prompt in decoded}) == 256
    decoded.clear()
    adaptive = codes(headless, encoded, GeneratorOptions(points_per_side=16, adaptive=True))
    assert len(decoded) == len({prompt.points for prompt in decoded}) < 235
    assert (iou(full, adaptive).max(1) >= 0.9).mean() >= 0.9


@pytest.mark.parametrize(("mask", "count"), [(-9.0, 25), (9.0, 25)])
def test_points_between_points_that_agree_are_left_out(
    mask: float,
    count: int,
    headless: SamModel,
    encoded: EncodedImage,
    decoded: list[Prompt],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits = torch.full((1, 4, *headless.mask_size), mask)
    monkeypatch.setattr(
        "segzs.sam.mask_generator.decode_low_res",
        lambda sam, encoded, prompts: (
            decoded.extend(prompts) or LowResMasks(logits.expand(len(prompts), -1, -1, -1), torch.ones(len(prompts), 4))
        ),
    )
    generate_masks(headless, encoded, GeneratorOptions(points_per_side=9, adaptive=True))
    assert len(decoded) == count


def test_an_exception_of_progress_cancels_the_search(
    headless: SamModel, encoded: EncodedImage, decoded: list[Prompt]
) -> None:
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_masks(headless, encoded, GeneratorOptions(points_per_side=16), stop)
    assert len(decoded) == CHUNK


def test_specks_and_pinholes_are_removed() -> None:
    mask = np.zeros((100, 100), bool)
    mask[20:80, 20:80] = True
    wanted = mask.copy()
    wanted[40:60, 40:60] = mask[40:60, 40:60] = False  # a hole that belongs to the object
    mask[25, 25] = False
    mask[5:8, 5:8] = mask[95, 95] = True
    cleaned = _cleaned(Mask(RLE.encode(mask), 1.0, 1.0))
    assert (cleaned.rle.decode() == wanted).all()


def test_an_empty_mask_stays_empty() -> None:
    empty = Mask(RLE.encode(np.zeros((9, 9), bool)), 1.0, 1.0)
    assert _cleaned(empty).rle.area == 0


def test_what_may_be_an_object_is_no_speck_and_what_reaches_the_border_no_pinhole() -> None:
    mask = np.ones((400, 400), bool)
    mask[:9, :9] = False  # a notch in the corner
    mask[200:220, 200:220] = False  # an object on a table
    mask[:, 350:360] = False
    mask[:, 362:] = False
    mask[100:120, 370:390] = True
    cleaned = _cleaned(Mask(RLE.encode(mask), 1.0, 1.0))
    assert (cleaned.rle.decode() == mask).all()
