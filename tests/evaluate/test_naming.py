import numpy as np
import pytest

import segzs
from segzs.clip.labels import Label
from segzs.clip.regions import Naming
from segzs.clip.vocabulary import Vocabulary
from segzs.evaluate.naming import judge, removed_labels, unknown_scores
from segzs.segments import Name
from tests.conftest import read_scene

LABELS = [f"label {number}" for number in range(8)]


ANIMALS = Vocabulary([Label("cat", parent="animal"), Label("dog", parent="animal"), "mug"])


def ranked(*labels: str) -> list[Name]:
    return [Name(label, 0.5 ** (index + 1)) for index, label in enumerate(labels)]


def test_names_are_judged_by_hand() -> None:
    vocabulary, names = Vocabulary(tuple(LABELS)), ranked(*LABELS)
    first, fifth, sixth = (judge(names, LABELS[index], vocabulary) for index in (0, 4, 5))
    assert first is not None
    assert (first.best, first.answered, first.top_1, first.top_5) == (LABELS[0], True, True, True)
    assert first.confidence == 0.5
    assert fifth is not None
    assert (fifth.answered, fifth.top_1, fifth.top_5) == (False, False, True)
    assert sixth is not None
    assert not sixth.top_5
    assert judge(names, "zebra", vocabulary) is None


def test_unknown_is_ignored_for_top_1_and_wrong_as_an_answer() -> None:
    names = ranked("unknown", "cat", "dog")
    cat, dog = (judge(names, name, ANIMALS) for name in ("cat", "dog"))
    assert cat is not None
    assert dog is not None
    assert (cat.best, cat.answered, cat.top_1) == ("cat", False, True)
    assert (dog.top_1, dog.top_5) == (False, True)


@pytest.mark.parametrize(
    ("names", "right", "first"),
    [
        (("cat", "animal"), "animal", True),  # a cat is an animal
        (("animal", "cat"), "animal", True),
        (("animal", "cat"), "cat", False),  # not every animal is a cat
        (("mug", "animal"), "animal", False),
    ],
)
def test_labels_below_the_right_one_are_right(names: tuple[str, ...], right: str, first: bool) -> None:
    judged = judge(ranked(*names), right, ANIMALS)
    assert judged is not None
    assert (judged.top_1, judged.answered, judged.top_5) == (first, first, True)


@pytest.mark.parametrize(("share", "count"), [(0.5, 4), (0.01, 1), (0.99, 7)])
def test_a_share_of_the_labels_is_removed(share: float, count: int) -> None:
    removed = removed_labels(LABELS, share, seed=3)
    assert len(removed) == count
    assert set(removed) <= set(LABELS)
    assert removed == removed_labels(LABELS, share, seed=3)
    if share == 0.5:
        assert removed != removed_labels(LABELS, share, seed=4)
    assert removed_labels(LABELS, 0) == removed_labels(["cat"], share) == []


def test_unknown_has_a_score_unless_it_is_switched_off(segmenter: segzs.Segmenter) -> None:
    named = segmenter.with_labels(["laptop", "pencil"])
    features = named.region_encoder.encode_whole(segzs.read_image(read_scene("desk").path))
    scores = unknown_scores(named, features)
    assert scores is not None
    assert np.allclose(scores, named.classifier.probabilities(features)[:, 2])
    assert unknown_scores(segzs.load(labels=["laptop"], naming=Naming(unknown=None), cache=False), features) is None
