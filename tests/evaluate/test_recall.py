import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segzs.evaluate.recall import THRESHOLDS, matches
from segzs.masks import RLE


def random_masks(rng: np.random.Generator, count: int) -> list[RLE]:
    masks = []
    for x, y, width, height in zip(*rng.integers((0, 0, 8, 8), (30, 30, 30, 30), (count, 4)).T, strict=True):
        mask = np.zeros((64, 64), bool)
        mask[y : y + height, x : x + width] = True
        masks.append(RLE.encode(mask))
    return masks


def shaken(rng: np.random.Generator, mask: RLE) -> RLE:
    return RLE.encode(np.roll(mask.decode(), tuple(rng.integers(-3, 4, 2)), (0, 1)))


def coco(masks: list[RLE], scores: np.ndarray | None = None) -> COCO:
    content = COCO()
    rows = [
        {"id": i, "image_id": 1, "category_id": 1, "segmentation": m.coco(), "area": m.area, "iscrowd": 0}
        for i, m in enumerate(masks, 1)
    ]
    for row, score in zip(rows, () if scores is None else scores, strict=False):
        row["score"] = float(score)
    content.dataset = {"images": [{"id": 1, "width": 64, "height": 64}], "annotations": rows, "categories": [{"id": 1}]}
    content.createIndex()
    return content


@pytest.mark.parametrize("seed", range(4))
def test_masks_are_matched_as_cocos_own_evaluation_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truths = random_masks(rng, 6)
    masks = [shaken(rng, truth) for truth in truths for _ in range(2)] + random_masks(rng, 4)
    scores = rng.permutation(len(masks)) / len(masks)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco(truths), coco(masks, scores), "segm")
        evaluation.params.useCats, evaluation.params.maxDets = 0, [100]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    owners = matches(truths, masks, scores)
    assert owners.tolist() == (evaluation.evalImgs[0]["gtMatches"].astype(int) - 1).tolist()
    assert (owners >= 0).mean() == pytest.approx(evaluation.eval["recall"].mean())
    assert (owners >= 0).any()
    assert not (owners >= 0).all()


def test_one_mask_is_no_two_objects() -> None:
    (mask,) = random_masks(np.random.default_rng(0), 1)
    assert (matches([mask, mask], [mask], [0.5]) >= 0).sum(1).tolist() == [1] * len(THRESHOLDS)


def test_no_mask_recalls_no_object() -> None:
    truths = random_masks(np.random.default_rng(0), 3)
    assert (matches(truths, [], []) == -1).all()
