"""Vocabularies from lists, files and built-in lists."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest

from segzs.clip.labels import Label
from segzs.clip.templates import resolve_templates
from segzs.clip.vocabulary import Vocabulary
from segzs.errors import VocabularyError


@pytest.mark.parametrize(
    "labels",
    [["cat", "dog"], ("cat", "dog"), [" cat", "dog", "cat"], [Label("cat"), "dog"], Vocabulary(["cat", "dog"])],
)
def test_lists_are_vocabularies(labels: Any) -> None:
    vocabulary = Vocabulary.of(labels)
    assert vocabulary == Vocabulary(("cat", "dog"))
    assert Vocabulary.of(vocabulary) is vocabulary


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "there are no labels; at least one is expected"),
        (["unknown", "cat"], "'unknown' is the name of objects that fit no label"),
        (["cat", 3], "3 is among the labels; words"),
        (["cat", ""], "'' is among the labels"),
        ([None], "None is among the labels"),
        (5, "the labels are 5; a list"),
        (b"cat", "the labels are b'cat'; a list"),
        ({"cat": {"synonyms": ["kitten"]}}, r"a list of texts or of segzs.Label\(...\) is expected"),
        ([{"name": "cat"}], "is among the labels"),
        (["cat", Label("cat", parent="pet")], "'cat' is listed twice with different details"),
        ([Label("cat", parent="cat")], "cat < cat: a label cannot be its own ancestor"),
        ([Label("cat", parent="pet"), Label("pet", parent="cat")], "a label cannot be its own ancestor"),
        ("cat, dog", "no such file: 'cat, dog'; give a list of labels"),
        (Path("nowhere.txt"), "no such file: 'nowhere.txt'"),
    ],
    ids=str,
)
def test_wrong_labels_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.of(labels)


def test_a_text_is_not_a_list() -> None:
    with pytest.raises(VocabularyError, match="the labels are 'cat'; a list of texts"):
        Vocabulary("cat")


def test_parents_become_labels() -> None:
    vocabulary = Vocabulary([Label("cat", parent="animal"), "mug"])
    assert vocabulary.labels == ("cat", "mug", "animal")
    assert vocabulary.parents == {"cat": "animal"}


@pytest.mark.parametrize(
    ("vocabulary", "count", "some"),
    [
        (Vocabulary.imagenet(), 998, {"tench", "toilet paper", "sunglasses"}),
        (Vocabulary.coco(), 80, {"person", "hair drier", "toothbrush"}),
        (Vocabulary.ade20k(), 150, {"wall", "crt screen", "flag"}),
        (Vocabulary.everyday(), 367, {"chair"}),
    ],
    ids=["imagenet", "coco", "ade20k", "everyday"],
)
def test_built_in_lists(vocabulary: Vocabulary, count: int, some: set[str]) -> None:
    assert len(vocabulary.labels) == count
    assert some <= set(vocabulary.labels)
    assert vocabulary.templates == ()


def test_imagenet_has_open_clips_names() -> None:
    assert set(Vocabulary.imagenet().labels) == set(open_clip.IMAGENET_CLASSNAMES)


def test_every_field_changes_the_digest() -> None:
    plain = Vocabulary(["cat", "dog"])
    fields = {"synonyms": "a", "descriptions": "a", "parent": "dog", "negatives": "a"}
    others = [Vocabulary([Label("cat", **{name: value}), "dog"]) for name, value in fields.items()]  # type: ignore[arg-type]
    others += [replace(plain, negatives=("a",)), replace(plain, templates=("a {}",)), Vocabulary(["dog", "cat"])]
    assert len({plain.digest, *(other.digest for other in others)}) == 8
    assert plain.digest == Vocabulary(("cat", " dog")).digest


def test_vocabularies_are_hashable_and_survive_pickle() -> None:
    vocabulary = Vocabulary([Label("cat", synonyms="kitten"), "dog"], "simple", ["toy"])
    assert pickle.loads(pickle.dumps(vocabulary)) == vocabulary
    assert hash(vocabulary) == hash(Vocabulary([Label("cat", synonyms="kitten"), "dog"], "simple", ["toy"]))


def test_without_keeps_the_details_of_other_labels() -> None:
    cat, dog = Label("cat", synonyms="kitten", parent="animal"), Label("dog", parent="animal")
    whole = Vocabulary([cat, dog, "mug"], "one {}", ["toy"])
    assert whole.without(["mug"]) == Vocabulary([cat, dog], "one {}", ["toy"])
    orphans = whole.without(["animal"])
    assert orphans == Vocabulary([Label("cat", synonyms="kitten"), "dog", "mug"], "one {}", ["toy"])
    assert whole.lineage("cat") == ("cat", "animal")
    assert orphans.lineage("cat") == ("cat",)
    with pytest.raises(VocabularyError, match="there are no labels"):
        whole.without(whole.labels)


def test_named_templates_are_open_clips() -> None:
    for name, reference in {
        "simple": open_clip.SIMPLE_IMAGENET_TEMPLATES,
        "imagenet": open_clip.OPENAI_IMAGENET_TEMPLATES,
    }.items():
        ours = [template.replace("{}", "cat") for template in resolve_templates(name)]
        assert ours == [template("cat") for template in reference]
    assert resolve_templates("plain") == ("a photo of a {}",)


def test_own_templates_may_contain_other_braces() -> None:
    assert Vocabulary(["cat"], "a drawing of a {}").templates == ("a drawing of a {}",)
    assert Vocabulary(["cat"], ["{}", "{name} {}"]).templates == ("{}", "{name} {}")


@pytest.mark.parametrize("templates", ["a photo", ["{}", "a photo"], ["{} and {}"], "openai", 5, [5]], ids=str)
def test_templates_without_one_slot_for_the_label_are_refused(templates: Any) -> None:
    with pytest.raises(VocabularyError, match="template"):
        Vocabulary(["cat"], templates)
