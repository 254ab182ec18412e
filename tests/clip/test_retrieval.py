"""Finding by words and by examples: what comes first, what comes not at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import segzs
from segzs import PromptError, VocabularyError
from segzs.clip.model import ClipModel
from segzs.clip.retrieval import best, encode_words, example_scores, said
from segzs.clip.vocabulary import general_features, general_vocabulary
from segzs.masks import RLE, iou
from segzs.segments import Name, Segment, Segments
from tests.conftest import Scene


@pytest.fixture(scope="module")
def photo(segmenter: segzs.Segmenter) -> segzs.EncodedImage:
    from tests.conftest import read_scene

    return segmenter.encode(read_scene("desk").path)


@pytest.fixture
def desk(scene, photo: segzs.EncodedImage) -> tuple[Scene, Segments]:
    """The desk and its exact masks."""
    known = scene("desk")
    return known, Segments(photo.image, tuple(Segment(mask, 1, 1) for mask in known.masks))


def square(x1: int, y1: int, x2: int, y2: int) -> RLE:
    mask = np.zeros((100, 100), bool)
    mask[y1:y2, x1:x2] = True
    return RLE.encode(mask)


def test_what_is_named_comes_first_and_what_is_absent_not(
    segmenter: segzs.Segmenter, photo: segzs.EncodedImage, desk: tuple[Scene, Segments]
) -> None:
    scene, among = desk
    right = [
        found[0].rle == mask
        for name, mask in zip(scene.names, scene.masks, strict=True)
        if len(found := segmenter.find(photo, name, among=among))
    ]
    assert sum(right) >= 0.8 * len(scene.names)
    absent = ["zebra", "castle", "rocket", "tornado", "octopus", "trumpet"]
    assert sum(not segmenter.find(photo, name, among=among) for name in absent) >= 5


def test_everything_is_searched_where_nothing_is_given(
    segmenter: segzs.Segmenter, photo: segzs.EncodedImage, desk: tuple[Scene, Segments]
) -> None:
    shares: list[float] = []
    found = segmenter.find(photo, "the laptop", points_per_side=6, progress=shares.append)
    assert shares[-1] == 1
    assert iou([found[0].rle], [desk[0].masks[desk[0].names.index("laptop")]])[0, 0] > 0.8
    assert (found[0].name, found.model) == ("the laptop", segmenter.model)
    scores = [segment.probability for segment in found]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 0.5


def test_by_an_example_of_this_photo_or_another_picture(
    segmenter: segzs.Segmenter, photo: segzs.EncodedImage, desk: tuple[Scene, Segments]
) -> None:
    scene, among = desk
    laptop = among[scene.names.index("laptop")]
    x1, y1, x2, y2 = laptop.box
    for like in (laptop, Segments(photo.image, (laptop,)), photo.image.pixels[y1:y2, x1:x2]):
        found = segmenter.find(photo, like=like, among=among)
        assert found[0].rle == laptop.rle
        assert found[0].name == "like the example"
        assert len(found) < len(among) / 2
    for name in ("laptop", "unknown"):
        like = replace(laptop, names=(Name(name, 0.9),))
        found = segmenter.find(photo, like=like, among=among)
        assert found[0].name == {"unknown": "like the example"}.get(name, name)
    assert not segmenter.find(photo, like=np.full((50, 50, 3), 200, np.uint8), among=among, least=0.9)


def test_an_article_changes_nothing_and_a_word_that_begins_like_one_stays(clip: ClipModel) -> None:
    assert torch.equal(encode_words(clip, " The  red mug"), encode_words(clip, "red mug"))
    assert torch.equal(encode_words(clip, "an apple"), encode_words(clip, "apple"))
    assert not torch.equal(encode_words(clip, "theatre"), encode_words(clip, "atre"))


def test_a_word_wins_only_against_all_other_words(clip: ClipModel) -> None:
    words, general = general_vocabulary(clip).labels, general_features(clip)
    cat, dog = (general[words.index(name)] for name in ("cat", "dog"))
    scores = said(clip, torch.stack([cat, dog, F.normalize(-general.mean(0), dim=0)]), cat, torch.ones(3), general)
    assert scores[0] > 0.9
    assert scores[1] < 0.5 > scores[2]
    unstable = said(clip, torch.stack([cat, cat]), cat, torch.tensor([1.0, 0.2]), general)
    assert unstable[0] == scores[0] > unstable[1] > 0.5


def test_a_likeness_is_judged_beside_what_is_usual() -> None:
    """Any two pictures are similar to some CLIPs; the cone that they live in says nothing."""
    cone = torch.zeros(8)
    cone[0] = 3
    others = torch.eye(8)[1:7]
    pictures = F.normalize(torch.cat([others, others[:1] + 0.1]) + cone, dim=-1)
    scores = example_scores(pictures, F.normalize(others[0] + cone, dim=-1), torch.ones(7))
    assert (scores >= 0.5).tolist() == [True, False, False, False, False, False, True]
    for stability, expected in ((1.0, 0.8), (0.5, 2 / 3)):
        assert example_scores(pictures[:1], pictures[0], torch.tensor([stability]))[0] == pytest.approx(expected)


def test_of_masks_inside_each_other_the_best_stays() -> None:
    masks = [
        square(0, 0, 40, 40),
        square(5, 5, 35, 35),
        square(60, 60, 90, 90),
        square(0, 0, 0, 0),
        square(50, 0, 60, 9),
    ]
    assert best(masks, torch.tensor([0.7, 0.9, 0.8, 1.0, 0.2]), 0.5) == [1, 2]
    assert best(masks, torch.tensor([0.1] * 5), 0.5) == []


def test_wrong_questions(segmenter: segzs.Segmenter, photo: segzs.EncodedImage, desk: tuple[Scene, Segments]) -> None:
    _, among = desk
    with pytest.raises(PromptError, match="either words, or an example"):
        segmenter.find(photo)
    with pytest.raises(PromptError, match="either words, or an example"):
        segmenter.find(photo, "mug", like=among[0])
    with pytest.raises(VocabularyError, match="words are expected"):
        segmenter.find(photo, " ")
    with pytest.raises(PromptError, match="least is 2"):
        segmenter.find(photo, "mug", least=2)
    with pytest.raises(PromptError, match="Segments of this image"):
        segmenter.find(segmenter.encode(np.zeros((9, 9, 3), np.uint8)), "mug", among=among)
    with pytest.raises(PromptError, match="another image is shown"):
        segmenter.find(photo, like=Segment(square(0, 0, 9, 9), 1, 1), among=among)
    with pytest.raises(PromptError, match="point"):
        segmenter.find(photo, "mug", points_per_side=0)
    assert len(segmenter.find(photo, "mug", among=among[:0])) == 0
