import numpy as np
import pytest
import torch

import segzs
from segzs.evaluate.naming import features_of, judge, judge_ranked, removed_labels, unknown_scores
from segzs.segments import Name, Segments
from tests.conftest import read_scene

LABELS = [f"label {number}" for number in range(8)]


def test_names_are_judged_by_hand() -> None:
    shares = torch.tensor([[0.05, 0.3, 0.2, 0.1, 0.06, 0.04, 0.03, 0.02, 0.2]] * 5)
    shares[4, 8] = 0.9
    first, fifth, sixth, other, unsure = judge(shares, LABELS, ["label 1", "label 0", "label 5", "zebra", "label 1"])
    assert first is not None
    assert (first.answer, first.best, first.first, first.among_five) == ("label 1", "label 1", True, True)
    assert first.confidence == pytest.approx(0.3)
    assert fifth is not None
    assert (fifth.first, fifth.among_five) == (False, True)
    assert sixth is not None
    assert not sixth.among_five
    assert other is None
    assert unsure is not None
    assert (unsure.answer, unsure.best, unsure.first) == ("unknown", "label 1", True)


def test_ranked_names_are_judged_alike(segmenter: segzs.Segmenter) -> None:
    desk = read_scene("desk")
    named = segmenter.with_labels(sorted(set(desk.names)))
    image = segzs.read_image(desk.path)
    judged = judge(
        named.namer.probabilities(features_of(named, image, desk.masks)), named.vocabulary.labels, desk.names
    )
    segments = named.name(Segments(image, tuple(segzs.Segment(mask, 1, 1) for mask in desk.masks)))
    for one, segment, name in zip(judged, segments, desk.names, strict=True):
        assert one is not None
        other = judge_ranked(segment.names, name)
        assert (one.answer, one.best, one.first, one.among_five) == (
            other.answer,
            other.best,
            other.first,
            other.among_five,
        )
        assert one.confidence == pytest.approx(other.confidence, abs=1e-4)


def test_unknown_among_ranked_names() -> None:
    names = (Name("unknown", 0.6), Name("cat", 0.3), Name("dog", 0.1))
    cat, dog = judge_ranked(names, "cat"), judge_ranked(names, "dog")
    assert (cat.answer, cat.best, cat.first, dog.first, dog.among_five) == ("unknown", "cat", True, False, True)


@pytest.mark.parametrize(("share", "count"), [(0.5, 4), (0.01, 1), (0.99, 7)])
def test_a_share_of_the_labels_is_removed(share: float, count: int) -> None:
    removed = removed_labels(LABELS, share, seed=3)
    assert len(removed) == count
    assert set(removed) <= set(LABELS)
    assert removed == removed_labels(LABELS, share, seed=3)
    if share == 0.5:
        assert removed != removed_labels(LABELS, share, seed=4)
    assert removed_labels(LABELS, 0) == removed_labels(["cat"], share) == []


def test_unknown_has_a_score_unless_it_is_never_said(segmenter: segzs.Segmenter) -> None:
    named = segmenter.with_labels(["laptop", "pencil"])
    features = features_of(named, segzs.read_image(read_scene("desk").path), ())
    assert features.shape[0] == 1
    scores = unknown_scores(named, features)
    assert scores is not None
    assert np.allclose(scores, named.namer.probabilities(features)[:, 2])
    assert unknown_scores(segzs.load(labels=["laptop"], unknown=None, cache=False), features) is None
