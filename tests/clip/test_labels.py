"""Labels with details from files, built-in lists, and complaints that say the line."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch

from segzs.checkpoints.locate import locate_clip
from segzs.checkpoints.registry import CLIPS
from segzs.clip.labels import Label, label_list
from segzs.clip.model import ClipModel, load_clip
from segzs.clip.namers import vocabulary_of
from segzs.clip.vocabulary import Vocabulary, encode_labels, encode_texts
from segzs.errors import VocabularyError
from tests.clip.conftest import SIGLIP_LIKE, random_clip

DETAILS = """\
templates: ["a drawing of a {}"]
negatives: [wall, sky]
labels:
  - laptop
  - name: cat
    synonyms: [kitten, "house  cat"]
    descriptions: a small animal with whiskers
    templates: "a photo of a {}"
    parent: animal
    negatives: [fox]
  - {name: dog, parent: animal}
"""
EXPECTED = Vocabulary(
    ("laptop", "cat", "dog", "animal"),
    ("a drawing of a {}",),
    (
        Label(
            "cat", ("kitten", "house cat"), ("a small animal with whiskers",), ("a photo of a {}",), "animal", ("fox",)
        ),
        Label("dog", parent="animal"),
    ),
    ("wall", "sky"),
)


def test_details_from_yaml_and_json(tmp_path: Path) -> None:
    (tmp_path / "labels.yaml").write_text(DETAILS)
    assert Vocabulary.of(tmp_path / "labels.yaml") == EXPECTED
    as_json = {
        "templates": ["a drawing of a {}"],
        "negatives": ["wall", "sky"],
        "labels": {
            "laptop": None,
            "cat": {
                "synonyms": ["kitten", "house cat"],
                "descriptions": ["a small animal with whiskers"],
                "templates": ["a photo of a {}"],
                "parent": "animal",
                "negatives": ["fox"],
            },
            "dog": {"parent": "animal"},
        },
    }
    (tmp_path / "labels.json").write_text(json.dumps(as_json, indent="\t"))
    assert Vocabulary.of(tmp_path / "labels.json") == EXPECTED


def test_details_from_python() -> None:
    given = ["laptop", *EXPECTED.details]
    vocabulary = Vocabulary.of(given, "a drawing of a {}")
    assert (vocabulary.labels, vocabulary.details) == (EXPECTED.labels, EXPECTED.details)
    assert hash(vocabulary) == hash(Vocabulary.of(given, "a drawing of a {}"))


def test_every_detail_changes_the_digest() -> None:
    plain = Vocabulary.of("cat, dog")
    fields = {"synonyms": ("a",), "descriptions": ("a",), "templates": ("a {}",), "parent": "dog", "negatives": ("a",)}
    others = [Vocabulary.of([Label("cat", **{name: value}), "dog"]) for name, value in fields.items()]  # type: ignore[arg-type]
    others.append(Vocabulary(plain.labels, negatives=("a",)))
    assert len({plain.digest, *(other.digest for other in others)}) == 7


def test_templates_of_a_file_are_its_own_unless_others_are_given(tmp_path: Path) -> None:
    (tmp_path / "labels.yaml").write_text(DETAILS)
    assert Vocabulary.of(tmp_path / "labels.yaml", usual=CLIPS["tiny"].templates).templates == ("a drawing of a {}",)
    assert Vocabulary.of(tmp_path / "labels.yaml", "one {}").templates == ("one {}",)
    assert Vocabulary.of("cat", usual=CLIPS["tiny"].templates).templates == CLIPS["tiny"].templates


def test_emoji_and_tabs_in_json(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('[\t"\\ud83d\\ude00 face", "a\\/b", "caf\\u00e9"]')
    assert Vocabulary.of(tmp_path / "labels.json").labels == ("\N{GRINNING FACE} face", "a/b", "café")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.txt", "cat\n\n# more\ndog\ncat\n", "a.txt, line 5: 'cat' stands in line 1 already"),
        ("a.txt", "cat\nunknown\n", "a.txt, line 2: 'unknown' is the answer"),
        ("a.csv", "cat\nbird,\n# no\ncat\n", "a.csv, line 4: 'cat' stands in line 1 already"),
        ("a.csv", "cat\ndog,brown\n", "a.csv, line 2: 2 columns; a label a line, or all labels in one line"),
        ("a.csv", "# mine\nName\ncat\n", "a.csv, line 2: 'Name' is the header of a table"),
        (
            "a.yaml",
            "labels: [cat, dog]\nnegatives: [dog]\n",
            "line 2: 'dog' is a label, and cannot be",
        ),
        ("a.yaml", "- cat\n- dog\n- cat\n", "a.yaml, line 3: 'cat' stands in line 1 already"),
        ("a.yaml", "labels:\n  cat: {}\n  dog:\n  cat:\n", "a.yaml, line 4: 'cat' stands in line 2 already"),
        ("a.yaml", "- cat\n- ''\n", "a.yaml, line 2: '' is not a label"),
        ("a.yaml", "- cat\n- 7\n", "a.yaml, line 2: 7 is not a label"),
        ("a.yaml", "- cat\n- [dog]\n", "a.yaml, line 2: a sequence stands where a text is expected"),
        ("a.yaml", "- cat\n- parent: cat\n", "a.yaml, line 2: a label with details needs its 'name'"),
        ("a.yaml", "- name: cat\n  synonym: kitten\n", "a.yaml, line 2: 'synonym' says nothing of a label; synonyms,"),
        ("a.yaml", "- name: cat\n  synonyms:\n  - kitten\n  - 3\n", "a.yaml, line 4: 3 is none of the synonyms"),
        ("a.yaml", "- name: cat\n  parent: [animal, pet]\n", "a.yaml, line 2: a sequence stands where a text"),
        ("a.yaml", "- name: cat\n  templates: a photo\n", "a.yaml, line 1: the template 'a photo' must have"),
        ("a.yaml", "labels: [cat]\ntemplate: one {}\n", "a.yaml, line 2: 'template' says nothing of a vocabulary"),
        ("a.yaml", "labels: [cat]\ntemplates: one\n", "a.yaml, line 2: the template 'one' must have"),
        ("a.json", '[\n"cat",\n"cat"]', "a.json, line 3: 'cat' stands in line 2 already"),
        ("a.json", '[\n"cat",\n]', "cannot be read from .*a.json: .*line [23]"),
    ],
)
def test_complaints_say_the_line(name: str, content: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(VocabularyError, match=complaint):
        Vocabulary.of(tmp_path / name)


def test_what_was_meant_for_something_else_is_no_label(tmp_path: Path) -> None:
    for text, complaint in (("imagnet", "did you mean 'imagenet'"), (f"{tmp_path}/", "is a folder; a file of labels")):
        with pytest.raises(VocabularyError, match=complaint):
            Vocabulary.of(text)
    assert Vocabulary.of("cocoa").labels == ("cocoa",)
    assert Vocabulary.of(["imagnet"]).labels == Vocabulary.of("imagnet,").labels == ("imagnet",)
    with pytest.raises(VocabularyError, match="mapping to details"):
        Vocabulary.of({"cat": ["kitty"]})


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ([Label("cat", parent="cat")], "cat < cat: a label cannot be its own parent"),
        ([Label("cat", parent="pet"), Label("pet", parent="cat")], "a label cannot be its own parent"),
        ([{"name": "cat"}], r"is not a label; words or segzs.clip.labels.Label\(...\) are expected"),
    ],
)
def test_details_that_make_no_sense(labels: list, complaint: str) -> None:
    with pytest.raises(VocabularyError, match=complaint):
        Vocabulary.of(labels)
    with pytest.raises(VocabularyError, match="'dog' has details or children, and is no label"):
        Vocabulary(("cat",), details=(Label("dog", synonyms=("hound",)),))
    with pytest.raises(VocabularyError, match="'cat' is no detail of a label"):
        Vocabulary(("cat",), details=("cat",))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        ("imagenet", 998, {"tench", "toilet paper", "sunglasses"}),
        ("coco", 80, {"person", "hair drier", "toothbrush"}),
        ("ade20k", 150, {"wall", "crt screen", "flag"}),
        ("everyday", 367, {"chair"}),
    ],
)
def test_built_in_lists(name: str, count: int, some: set[str]) -> None:
    vocabulary = Vocabulary.of(name)
    assert len(vocabulary.labels) == count
    assert some <= set(vocabulary.labels)
    assert Vocabulary.of([name]).labels == Vocabulary.of(f"{name},").labels == (name,)
    if name == "imagenet":
        assert set(vocabulary.labels) == set(open_clip.IMAGENET_CLASSNAMES)


def test_synonyms_and_descriptions_vote_alike(clip: ClipModel) -> None:
    label = Label("cat", ("kitten",), ("an animal with whiskers.",))
    both = encode_labels(clip, Vocabulary.of([label, "dog"], ("{}", "a photo of a {}")))
    texts = encode_texts(clip, ["cat", "a photo of a cat", "kitten", "a photo of a kitten", "an animal with whiskers."])
    cat, kitten = (torch.nn.functional.normalize(texts[i : i + 2].mean(0), dim=0) for i in (0, 2))
    expected = torch.nn.functional.normalize(torch.stack([cat, kitten, texts[4]]).mean(0), dim=0)
    torch.testing.assert_close(both[0], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(both[1:], encode_labels(clip, Vocabulary.of("dog", ("{}", "a photo of a {}"))))


@pytest.mark.parametrize("kind", ["tiny", "siglip"])
def test_what_the_model_would_cut_off_is_refused(kind: str, clip: ClipModel, tmp_path: Path) -> None:
    if kind == "siglip":
        clip = load_clip(locate_clip(str(random_clip(tmp_path / "clip", SIGLIP_LIKE))))
    length = clip.tokenizer(["cat"]).shape[1]
    fits = " ".join(["cat"] * (length - 2))
    assert encode_labels(clip, Vocabulary.of([fits], "{}")).shape[0] == 1
    with pytest.raises(VocabularyError, match=rf"'cat .*' is longer than the {length} tokens that .* reads at once"):
        encode_labels(clip, Vocabulary.of([f"{fits} cat"], "{}"))
    (tmp_path / "labels.txt").write_text(f"dog\n\n{fits} cat\n")
    (tmp_path / "labels.yaml").write_text(f"- dog\n- name: bird\n  descriptions:\n  - {fits} cat\n")
    for file, line in (("labels.txt", 3), ("labels.yaml", 2)):
        with pytest.raises(VocabularyError, match=rf"{file}, line {line}: 'cat .*' is longer than"):
            vocabulary_of(clip, tmp_path / file, "{}")


def test_a_list_of_labels_is_the_same_everywhere(tmp_path: Path) -> None:
    """What is sent to a cluster is not a path, and lets the CLIP there choose its templates."""
    (tmp_path / "labels.yaml").write_text("- {name: cat, parent: animal}\n- dog\n")
    sent = label_list(tmp_path / "labels.yaml")
    assert Vocabulary.of(sent, usual=CLIPS["tiny"].templates) == Vocabulary.of(
        tmp_path / "labels.yaml", CLIPS["tiny"].templates
    )


def test_a_mapping_is_no_list(tmp_path: Path) -> None:
    """Its values would be lost in silence."""
    with pytest.raises(VocabularyError, match=r"mapping to details.*a list is expected.*Label"):
        Vocabulary.of({"cat": {"synonyms": ["kitten"]}})  # type: ignore[arg-type]
