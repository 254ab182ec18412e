"""Cheap masks: what the head computes for points of an image, and what everything mode makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segzs.image import Image
from segzs.sam.encode import EncodedImage, encode
from segzs.sam.mask_generator import GeneratorOptions, generate_masks
from segzs.sam.model import SamModel
from segzs.sam.networks.mask_statistics import mask_statistics
from segzs.sam.networks.point_head import FEATURES, HIDDEN, MASKS, POSITIONS, SPLIT, STRIDE, UNIT, PointHead
from segzs.sam.proposals import PointMasks, decode_proposals, has_point_head, propose


@pytest.fixture(scope="module")
def encoded(tiny: SamModel, desk: Image) -> EncodedImage:
    return encode(tiny, desk)


def test_masks_are_those_of_a_small_network_at_each_point() -> None:
    """Against the plain computation: relative positions of every cell, one point after another."""
    torch.manual_seed(0)
    head = PointHead(16, 8).eval()
    features = head.prepare(torch.randn(1, 16, 5, 6), torch.randn(1, 8, 10, 12))
    points = torch.tensor([[[20.0, 30.0], [70.5, 3.25]]])
    logits, predicted_iou = head(features, points)
    parts = head.controller(head._at(features, points))[0].split(SPLIT, dim=-1)
    y, x = ((torch.arange(n) + 0.5) * STRIDE for n in (10, 12))
    for index, (px, py) in enumerate(points[0].tolist()):
        dx, dy = ((x - px) / UNIT).expand(10, 12), ((y - py) / UNIT)[:, None].expand(10, 12)
        seen = torch.cat([features.of_masks[0], torch.stack([dx, dy, (dx**2 + dy**2) / 16])]).flatten(1)
        of_features, of_positions, bias, second, bias_2, _ = (part[index] for part in parts)
        first = torch.cat([of_features.view(HIDDEN, FEATURES), of_positions.view(HIDDEN, POSITIONS)], 1)
        hidden = F.relu(first @ seen + bias[:, None])
        expected = (second.view(MASKS, HIDDEN) @ hidden + bias_2[:, None]).view(MASKS, 10, 12)
        torch.testing.assert_close(logits[0, index], expected, rtol=1e-4, atol=1e-4)
    assert predicted_iou.shape == (1, 2, MASKS)


def test_statistics_of_every_second_cell_are_about_those_of_all() -> None:
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(128.0), indexing="ij")
    logits = 20 - torch.hypot(x - 60, y - 50)[None, None]
    torch.testing.assert_close(mask_statistics(logits, 2), mask_statistics(logits), rtol=0.05, atol=0.01)


def test_statistics_are_what_they_are_called() -> None:
    logits = torch.full((1, 1, 8, 8), -30.0)
    logits[..., 2:6, 2:6] = 30.0
    area, doubt, stability, boundary, largest = mask_statistics(logits)[0, 0].tolist()
    assert area == pytest.approx(np.log(17) / 10, abs=1e-4)
    assert (doubt, stability, largest) == pytest.approx((0, 1, 1), abs=1e-4)
    assert boundary == pytest.approx(16 / np.sqrt(17) / 10, abs=1e-4)


def test_each_point_is_answered_alone(tiny: SamModel, encoded: EncodedImage) -> None:
    masks = PointMasks(tiny, encoded)
    points = np.array([[100.0, 100.0], [400.0, 300.0], [5.0, 470.0]])
    together = masks.at(points)
    for index, point in enumerate(points):
        alone = masks.at(point[None])
        torch.testing.assert_close(together.logits[index], alone.logits[0], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(together.predicted_iou[index], alone.predicted_iou[0], rtol=1e-3, atol=1e-3)


def test_cheap_masks_lie_under_their_points(tiny: SamModel, encoded: EncodedImage, scene) -> None:
    image = encoded.image
    masks = scene("desk").masks
    points = np.array([_inside(mask.decode()) for mask in masks])
    answers = PointMasks(tiny, encoded).at(points)
    best = answers.logits[torch.arange(len(points)), answers.predicted_iou.argmax(1)] > 0
    scale = 768 / max(image.width, image.height) / STRIDE
    hit = [bool(mask[int(y * scale), int(x * scale)]) for mask, (x, y) in zip(best, points, strict=True)]
    assert np.mean(hit) > 0.7


def test_proposals_are_likely_and_different(tiny: SamModel, encoded: EncodedImage) -> None:
    x, y = np.meshgrid(np.arange(16, 640, 40), np.arange(16, 480, 40))
    points = np.stack([x.ravel(), y.ravel()], 1).astype(float)
    result = propose(tiny, encoded, points, 0.5, 0.5)
    assert 0 < len(result.logits) < len(points)
    assert (result.predicted_iou.diff() <= 0).all()
    masks = (result.logits > 0).flatten(1).float()
    common = masks @ masks.T
    overlap = common / (masks.sum(1)[:, None] + masks.sum(1) - common)
    assert overlap.fill_diagonal_(0).max() <= 0.75
    answers = list(decode_proposals(tiny, encoded, result))
    assert sum(len(each.logits) for each in answers) == len(result.logits)
    assert answers[0].logits.shape[2:] == tiny.mask_size


def test_everything_tells_how_far_it_is(tiny: SamModel, encoded: EncodedImage) -> None:
    assert has_point_head(tiny)
    shares: list[float] = []
    generate_masks(tiny, encoded, GeneratorOptions(points_per_side=8), shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_an_empty_image_has_no_proposals(tiny: SamModel) -> None:
    empty = encode(tiny, Image(np.full((60, 80, 3), 128, np.uint8)))
    assert generate_masks(tiny, empty, GeneratorOptions(points_per_side=2, predicted_iou_threshold=1.0)) == []


def _inside(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    middle = len(rows) // 2
    return float(columns[middle]), float(rows[middle])
