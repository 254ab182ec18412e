"""Finding objects by a text or an example: the right one first, absent ones not at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import segzs
from segzs import PromptError, VocabularyError
from segzs.clip.model import ClipModel
from segzs.clip.retrieval import encode_query, example_scores, select, text_scores
from segzs.clip.text_features import general_features, general_vocabulary
from segzs.masks import RLE, iou
from segzs.segments import Name, Segment, Segments
from tests.conftest import Scene, read_scene


@pytest.fixture(scope="module")
def desk() -> Scene:
    return read_scene("desk")


@pytest.fixture(scope="module")
def image(segmenter: segzs.Segmenter, desk: Scene) -> segzs.EncodedImage:
    return segmenter.encode(desk.path)


@pytest.fixture
def segments(image: segzs.EncodedImage, desk: Scene) -> Segments:
    """The exact masks of the desk."""
    return Segments(image.image, tuple(Segment(mask, 1, 1) for mask in desk.masks))


def square(x1: int, y1: int, x2: int, y2: int) -> RLE:
    mask = np.zeros((100, 100), bool)
    mask[y1:y2, x1:x2] = True
    return RLE.encode(mask)


@pytest.mark.slow
def test_a_text_finds_its_object_and_nothing_for_absent_ones(
    segmenter: segzs.Segmenter, image: segzs.EncodedImage, desk: Scene, segments: Segments
) -> None:
    right = [
        matches[0].rle == mask
        for name, mask in zip(desk.names, desk.masks, strict=True)
        if len(matches := segmenter.find(image, name, among=segments))
    ]
    assert sum(right) >= 0.8 * len(desk.names)
    absent = ["zebra", "castle", "rocket", "tornado", "octopus", "trumpet"]
    assert sum(not segmenter.find(image, name, among=segments) for name in absent) >= 5


def test_everything_is_searched_by_default(segmenter: segzs.Segmenter, image: segzs.EncodedImage, desk: Scene) -> None:
    progress: list[float] = []
    matches = segmenter.find(image, "the laptop", points_per_side=6, progress=progress.append)
    assert progress[-1] == 1
    assert iou([matches[0].rle], [desk.masks[desk.names.index("laptop")]])[0, 0] > 0.8
    assert (matches[0].name, matches.model) == ("the laptop", segmenter.model)
    scores = [segment.probability for segment in matches]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 0.5


@pytest.mark.slow
def test_an_example_finds_its_like(
    segmenter: segzs.Segmenter, image: segzs.EncodedImage, desk: Scene, segments: Segments
) -> None:
    laptop = segments[desk.names.index("laptop")]
    x1, y1, x2, y2 = laptop.box
    for like in (laptop, Segments(image.image, (laptop,)), image.image.pixels[y1:y2, x1:x2]):
        matches = segmenter.find(image, like=like, among=segments)
        assert matches[0].rle == laptop.rle
        assert matches[0].name == "like the example"
        assert len(matches) < len(segments) / 2
    for name, expected in {"laptop": "laptop", "unknown": "like the example"}.items():
        like = replace(laptop, names=(Name(name, 0.9),))
        assert segmenter.find(image, like=like, among=segments)[0].name == expected
    grey = np.full((50, 50, 3), 200, np.uint8)
    assert not segmenter.find(image, like=grey, among=segments, score_threshold=0.9)


def test_articles_of_queries_are_removed(clip: ClipModel) -> None:
    assert torch.equal(encode_query(clip, " The  red mug"), encode_query(clip, "red mug"))
    assert torch.equal(encode_query(clip, "an apple"), encode_query(clip, "apple"))
    assert not torch.equal(encode_query(clip, "theatre"), encode_query(clip, "atre"))


def test_a_text_competes_with_general_labels(clip: ClipModel) -> None:
    labels, general = general_vocabulary(clip).labels, general_features(clip)
    cat, dog = (general[labels.index(name)] for name in ("cat", "dog"))
    nothing = F.normalize(general.mean(0), dim=0)  # resembles all labels alike
    scores = text_scores(clip, torch.stack([cat, dog, nothing]), cat, torch.ones(3), general)
    assert scores[0] > 0.9
    assert scores[1] < 0.5 > scores[2]
    unstable = text_scores(clip, torch.stack([cat, cat]), cat, torch.tensor([1.0, 0.2]), general)
    assert unstable[0] == scores[0] > unstable[1] > 0.5


def test_examples_are_compared_relative_to_the_mean() -> None:
    """The image features of some CLIPs all lie in a narrow cone, which must not count as similarity."""
    cone = torch.zeros(8)
    cone[0] = 3
    others = torch.eye(8)[1:7]
    image_features = F.normalize(torch.cat([others, others[:1] + 0.1]) + cone, dim=-1)
    scores = example_scores(image_features, F.normalize(others[0] + cone, dim=-1), torch.ones(7))
    assert (scores >= 0.5).tolist() == [True, False, False, False, False, False, True]
    for stability_score, expected in ((1.0, 0.8), (0.5, 2 / 3)):
        (score,) = example_scores(image_features[:1], image_features[0], torch.tensor([stability_score]))
        assert score == pytest.approx(expected)


def test_the_best_of_nested_masks_is_selected() -> None:
    boxes = [(0, 0, 40, 40), (5, 5, 35, 35), (60, 60, 90, 90), (0, 0, 0, 0), (50, 0, 60, 9)]
    masks = [square(*box) for box in boxes]
    assert select(masks, torch.tensor([0.7, 0.9, 0.8, 1.0, 0.2]), 0.5) == [1, 2]
    assert select(masks, torch.tensor([0.1] * 5), 0.5) == []


def test_wrong_queries_are_refused(segmenter: segzs.Segmenter, image: segzs.EncodedImage, segments: Segments) -> None:
    with pytest.raises(PromptError, match="either a text or an example"):
        segmenter.find(image)
    with pytest.raises(PromptError, match="either a text or an example"):
        segmenter.find(image, "mug", like=segments[0])
    with pytest.raises(VocabularyError, match="' ' is among the queries"):
        segmenter.find(image, " ")
    with pytest.raises(PromptError, match="score_threshold is 2"):
        segmenter.find(image, "mug", score_threshold=2)
    with pytest.raises(PromptError, match="Segments of this image"):
        segmenter.find(segmenter.encode(np.zeros((9, 9, 3), np.uint8)), "mug", among=segments)
    with pytest.raises(PromptError, match="without pixels"):
        segmenter.find(image, like=Segment(square(0, 0, 9, 9), 1, 1), among=segments)
    with pytest.raises(PromptError, match="point"):
        segmenter.find(image, "mug", points_per_side=0)
    with pytest.raises(PromptError, match="merge joins"):
        segmenter.find(image, "mug", merge=False)
    with pytest.raises(PromptError, match="leave out its options"):
        segmenter.find(image, "mug", among=segments, points_per_side=6)


def test_among_no_segments_nothing_matches(
    segmenter: segzs.Segmenter, image: segzs.EncodedImage, segments: Segments
) -> None:
    assert len(segmenter.find(image, "mug", among=segments[:0])) == 0
