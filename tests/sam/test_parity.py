"""decode against segment-anything's and SAM 2's predictors, on the same weights, for every kind of prompt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from segzs.checkpoints.locate import locate_sam
from segzs.image import Image
from segzs.masks import Mask
from segzs.prompts import Prompt
from segzs.sam.decode import decode
from segzs.sam.encode import encode
from segzs.sam.model import load_sam
from tests.sam.conftest import Pair
from tests.sam.sam2_peers import full_meta, meta_predictor

POINT = [(0.3, 0.4)]
POINTS = [(0.3, 0.4), (0.35, 0.5), (0.8, 0.2)]
BOX = (0.1, 0.2, 0.6, 0.7)
KINDS = (
    "point",
    "points",
    "points with a negative",
    "box",
    "box and point",
    "box and negative point",
    "box and points",
    "mask",
    "mask and point",
    "mask and box",
    "mask, box and points",
)


@pytest.fixture(scope="module", params=["tiny", "small", "vit_b", "sam2"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return request.getfixturevalue(f"{request.param}_pair")


def make_prompt(pair: Pair, kind: str) -> Prompt:
    """A prompt of a kind, in pixels of the pair's image."""
    width, height = pair.encoded.image.width, pair.encoded.image.height
    points = [(x * width, y * height) for x, y in (POINTS if "points" in kind else POINT if "point" in kind else [])]
    positive = [True] * len(points)
    if "negative" in kind:
        positive[-1] = False
    box = [side * length for side, length in zip(BOX, (width, height) * 2, strict=True)] if "box" in kind else None
    mask = None
    if "mask" in kind:
        rng = np.random.default_rng(0)
        mask = rng.normal(scale=5, size=pair.sam.mask_size).astype(np.float32)
    return Prompt(points, positive, box, mask)


def reference(pair: Pair, prompt: Prompt, *, multimask: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The predictor's masks, predicted IoU and low-res logits."""
    masks, predicted_iou, logits = pair.predictor.predict(
        point_coords=np.array(prompt.points) if prompt.points else None,
        point_labels=np.array(prompt.positive, int) if prompt.points else None,
        box=np.array(prompt.box) if prompt.box else None,
        mask_input=None if prompt.mask is None else prompt.mask[None].copy(),
        multimask_output=multimask,
    )
    return masks.astype(bool), predicted_iou, logits


def best(pair: Pair, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """SamPredictor used as documented: the best of three masks for a single point, otherwise the only mask."""
    masks, predicted_iou, logits = reference(pair, make_prompt(pair, kind), multimask=kind == "point")
    first = slice(predicted_iou.argmax(), predicted_iou.argmax() + 1)
    return masks[first], predicted_iou[first], logits[first]


def assert_equal(ours: tuple[Mask, ...], theirs: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    masks, predicted_iou, logits = theirs
    assert len(ours) == len(masks)
    overlaps = []
    for rle, mask in zip((each.rle for each in ours), masks, strict=True):
        both, either = (rle.decode() & mask).sum(), (rle.decode() | mask).sum()
        overlaps.append(both / either if either else 1.0)
    assert any(mask.any() and not mask.all() for mask in masks)
    assert np.mean(overlaps) >= 0.999
    np.testing.assert_allclose([each.predicted_iou for each in ours], predicted_iou, atol=1e-4)
    np.testing.assert_allclose([each.low_res_logits for each in ours], logits, atol=1e-4 * np.abs(logits).max())


@pytest.mark.slow
def test_image_features_are_equal(pair: Pair) -> None:
    theirs = pair.predictor.get_image_embedding()
    ours = pair.encoded.features[:, : theirs.shape[1]]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_mask_is_equal(pair: Pair, kind: str) -> None:
    (ours,) = decode(pair.sam, pair.encoded, [make_prompt(pair, kind)])
    assert_equal(ours, best(pair, kind))


@pytest.mark.parametrize("kind", ["point", "box", "mask, box and points"])
def test_three_masks_are_equal_and_ranked(pair: Pair, kind: str) -> None:
    (ours,) = decode(pair.sam, pair.encoded, [make_prompt(pair, kind)], multimask=True)
    masks, predicted_iou, logits = reference(pair, make_prompt(pair, kind), multimask=True)
    order = predicted_iou.argsort()[::-1]
    assert_equal(ours, (masks[order], predicted_iou[order], logits[order]))


@pytest.mark.slow
def test_prompts_of_all_kinds_in_one_call_are_equal(pair: Pair) -> None:
    kinds = [*KINDS, *KINDS[:3], "point"]
    for ours, kind in zip(decode(pair.sam, pair.encoded, [make_prompt(pair, k) for k in kinds]), kinds, strict=True):
        assert_equal(ours, best(pair, kind))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "size"),
    [("hiera_tiny", "t"), ("hiera_small", "s"), ("hiera_base_plus", "b+"), ("hiera_large", "l")],
)
def test_every_size_of_sam2_has_the_masks_of_its_authors(
    architecture: str, size: str, desk: Image, tmp_path: Path
) -> None:
    """The image fills the input, so that nothing is resized."""
    official = full_meta(size)
    torch.save({"model": official.state_dict()}, tmp_path / "sam2.pt")
    sam = load_sam(locate_sam(f"{architecture}:{tmp_path / 'sam2.pt'}"))
    image = Image(np.tile(desk.pixels, (3, 3, 1))[:1024, :1024])
    predictor = meta_predictor(official)
    predictor.set_image(np.array(image.pixels))
    pair = Pair(sam, encode(sam, image), predictor)
    for kind in KINDS:
        assert_equal(decode(sam, pair.encoded, [make_prompt(pair, kind)])[0], best(pair, kind))
