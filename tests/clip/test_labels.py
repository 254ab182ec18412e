"""Labels with details, and files of labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segzs.clip.labels import Label
from segzs.clip.vocabulary import Vocabulary
from segzs.errors import VocabularyError

NAMES = ("cat", "dog", "coffee mug")
YAML = """\
templates: ["a drawing of a {}"]
negatives: [wall, sky]
labels:
  - laptop
  - name: cat
    synonyms: [kitten, "house  cat"]
    descriptions: a small animal with whiskers
    parent: animal
    negatives: [fox]
  - {name: dog, parent: animal}
"""
CAT = Label("cat", ("kitten", "house cat"), ("a small animal with whiskers",), "animal", ("fox",))
EXPECTED = Vocabulary(["laptop", CAT, Label("dog", parent="animal")], "a drawing of a {}", ["wall", "sky"])


def test_label_normalises_white_space_and_single_texts() -> None:
    label = Label(" coffee\n mug", synonyms="cup", parent=" kitchen  ware")
    assert label == Label("coffee mug", synonyms=("cup",), parent="kitchen ware")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "'' is among the labels; words"),
        ({"name": 3}, "3 is among the labels; words"),
        ({"name": ["cat"]}, r"\['cat'\] is among the labels; words"),
        ({"name": "unknown"}, "it cannot be a label"),
        ({"name": "cat", "synonyms": [3]}, "3 is among the synonyms of 'cat'"),
        ({"name": "cat", "synonyms": None}, "the synonyms of 'cat' are None; a list of words"),
        ({"name": "cat", "descriptions": [" "]}, "' ' is among the descriptions of 'cat'"),
        ({"name": "cat", "parent": 3}, "3 is among the parents"),
    ],
)
def test_label_with_wrong_values_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        Label(**arguments)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", "# animals\ncat\n\ndog\n  coffee mug  \n"),
        ("labels.txt", "\ufeffcat\r\ndog\r\ncoffee mug\r\n"),
        ("labels", "cat\ndog\ncoffee mug"),
        ("labels.json", '["cat", "dog", "coffee mug"]'),
        ("labels.JSON", '{"labels": ["cat", "dog", "coffee mug"]}'),
        ("labels.yaml", "# mine\n- cat\n- dog  # not a wolf\n- 'coffee mug'\n"),
        ("labels.yml", 'labels:\n  - cat\n  - dog\n  - "coffee mug"\n'),
        ("labels.yml", "labels:\n  cat:\n  dog:\n  coffee mug:\n"),
        ("data.yaml", "path: ../coco\nnc: 3\nnames:\n  0: cat\n  1: dog\n  2: coffee mug\n"),
        ("data.yaml", "names: [cat, dog, coffee mug]\n"),
    ],
)
def test_every_format_of_label_files_is_read(name: str, content: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(content, "utf-8", newline="")
    assert Vocabulary.read(file).labels == Vocabulary.of(str(file)).labels == NAMES


def test_commas_and_quotes_in_files_belong_to_labels(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text('salt, pepper\n"so-called" art\n')
    assert Vocabulary.read(tmp_path / "labels.txt").labels == ("salt, pepper", '"so-called" art')


def test_details_are_read_from_yaml_and_json(tmp_path: Path) -> None:
    (tmp_path / "labels.yaml").write_text(YAML)
    assert Vocabulary.read(tmp_path / "labels.yaml") == EXPECTED
    content = {
        "templates": ["a drawing of a {}"],
        "negatives": ["wall", "sky"],
        "labels": {
            "laptop": None,
            "cat": {
                "synonyms": ["kitten", "house cat"],
                "descriptions": ["a small animal with whiskers"],
                "parent": "animal",
                "negatives": ["fox"],
            },
            "dog": {"parent": "animal"},
        },
    }
    (tmp_path / "labels.json").write_text(json.dumps(content, indent="\t"))
    assert Vocabulary.read(tmp_path / "labels.json") == EXPECTED


def test_json_escapes_and_other_scripts_are_read(tmp_path: Path) -> None:
    labels = ("\N{GRINNING FACE} face", "a/b", "café", "日本")
    for ascii_only in (True, False):
        (tmp_path / "labels.json").write_text(json.dumps(labels, ensure_ascii=ascii_only), "utf-8")
        assert Vocabulary.read(tmp_path / "labels.json").labels == labels


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "there are no labels"),
        ("a.txt", b"# nothing\n\n", "there are no labels"),
        ("a.txt", b"\xff\xfe\x00caf\xe9", "cannot read labels from .*a.txt"),
        ("a.txt", b"cat\n\n# more\ndog\ncat\n", "a.txt: 'cat' is listed twice"),
        ("a.txt", b"cat\nunknown\n", "a.txt: 'unknown' is the name of objects that fit no label"),
        ("a.csv", b"cat,dog\n", r"a.csv: a table \(.csv\) is not a list of labels; write one label a line"),
        ("a.json", b"cat, dog", "cannot read labels from .*a.json"),
        ("a.json", b'[\n"cat",\n]', "cannot read labels from .*a.json: .*line [23]"),
        ("a.json", b'{"cat": 1}', "a.json: it contains no list of labels"),
        ("a.json", b"[1, 2]", "a.json: 1 is among the labels"),
        ("a.json", b'["cat", "cat"]', "a.json: 'cat' is listed twice"),
        ("a.yaml", b"- cat\n dog: [", "cannot read labels from .*a.yaml"),
        ("a.yaml", b"!!python/object/apply:os.getcwd []", "cannot read labels from .*a.yaml"),
        ("a.yaml", b"cat\ndog\n", "a.yaml: it contains no list of labels"),
        ("a.yaml", b"- cat\n- no\n", "a.yaml: False is among the labels"),
        ("a.yaml", b"- cat\n- [dog]\n", r"a.yaml: \['dog'\] is among the labels"),
        ("a.yaml", b"- cat\n- parent: cat\n", "a.yaml: the label {'parent': 'cat'} has no 'name'"),
        (
            "a.yaml",
            b"- name: cat\n  synonym: kitten\n",
            "a.yaml: unknown key 'synonym' of the label 'cat'; choose",
        ),
        ("a.yaml", b"- name: cat\n  synonyms: [kitten, 3]\n", "a.yaml: 3 is among the synonyms of 'cat'"),
        ("a.yaml", b"- name: cat\n  parent: [animal, pet]\n", r"a.yaml: \['animal', 'pet'\] is among the parents"),
        ("a.yaml", b"labels: [cat]\ntemplate: one {}\n", "a.yaml: unknown key 'template' of the vocabulary"),
        ("a.yaml", b"labels: [cat]\ntemplates: [one]\n", "a.yaml: the template 'one' must contain {} once"),
        ("a.yaml", b"labels: [cat, dog]\nnegatives: [dog]\n", "a.yaml: 'dog' is both a label and a negative"),
    ],
)
def test_errors_name_the_file_and_the_label(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.read(tmp_path / name)
