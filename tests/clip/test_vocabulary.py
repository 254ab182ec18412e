"""Labels from wherever they come, the sentences that they are asked in, and the features that these give."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors import safe_open

from segzs.checkpoints.locate import locate_clip
from segzs.checkpoints.registry import CLIPS
from segzs.clip.labels import Label
from segzs.clip.model import ClipModel, load_clip
from segzs.clip.vocabulary import (
    PLAIN,
    Vocabulary,
    encode_labels,
    general_features,
    general_vocabulary,
    named_templates,
    unknown_words,
)
from segzs.errors import VocabularyError
from segzs.settings import embedded_folder
from tests.clip.conftest import random_clip

EXPECTED = ("cat", "dog", "coffee mug")


@pytest.mark.parametrize(
    "labels",
    [
        ["cat", "dog", "coffee mug"],
        ("cat", "dog", "coffee mug"),
        (label for label in EXPECTED),
        {"cat": 1, "dog": 2, "coffee mug": 3},
        "cat,dog,coffee mug",
        " cat , dog,, coffee   mug,",
        "cat,dog,cat,coffee mug,dog",
        ["cat", " dog", "coffee\nmug", "cat", ""],
    ],
    ids=str,
)
def test_lists_and_text(labels: Any) -> None:
    assert Vocabulary.of(labels).labels == EXPECTED


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", "# animals\ncat\n\ndog\n  coffee mug  \n"),
        ("labels.txt", "\ufeffcat\r\ndog\r\ncoffee mug\r\n"),
        ("labels", "cat\ndog\ncoffee mug"),
        ("labels.csv", "cat,dog,coffee mug\n"),
        ("labels.csv", '# mine\ncat\n"dog"\n"coffee mug",\n'),
        ("labels.json", '["cat", "dog", "coffee mug"]'),
        ("labels.JSON", '{"labels": ["cat", "dog", "coffee mug"]}'),
        ("labels.yaml", "# mine\n- cat\n- dog  # not a wolf\n- 'coffee mug'\n"),
        ("labels.yml", 'labels:\n  - cat\n  - dog\n  - "coffee mug"\n'),
        ("data.yaml", "path: ../coco\nnc: 3\nnames:\n  0: cat\n  1: dog\n  2: coffee mug\n"),
        ("data.yaml", "names: [cat, dog, coffee mug]\n"),
    ],
)
def test_files(name: str, content: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(content, "utf-8", newline="")
    assert Vocabulary.of(file).labels == EXPECTED
    assert Vocabulary.of(str(file)).labels == EXPECTED


def test_commas_and_quotes_in_files(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text('salt, pepper\n"so-called" art\n')
    assert Vocabulary.of(tmp_path / "labels.txt").labels == ("salt, pepper", '"so-called" art')
    (tmp_path / "labels.csv").write_text('"salt, pepper","the ""best"" mug"\n')
    assert Vocabulary.of(tmp_path / "labels.csv").labels == ("salt, pepper", 'the "best" mug')


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("labels.txt", b"", "at least one label"),
        ("labels.txt", b"# nothing\n\n", "at least one label"),
        ("labels.txt", b"\xff\xfe\x00caf\xe9", "cannot be read from .*labels.txt"),
        ("labels.json", b"cat, dog", "cannot be read from .*labels.json"),
        ("labels.json", b'{"cat": 1}', "labels.json holds no list of labels"),
        ("labels.json", b"[1, 2]", "1 is not a label"),
        ("labels.yaml", b"- cat\n- no\n", "False is not a label"),
        ("labels.yaml", b"- cat\n dog: [", "cannot be read from .*labels.yaml"),
        ("labels.yaml", b"!!python/object/apply:os.getcwd []", "cannot be read from .*labels.yaml"),
        ("labels.yaml", b"cat\ndog\n", "labels.yaml holds no list of labels"),
        ("labels.csv", b"cat,unknown\n", "'unknown' is the answer"),
    ],
)
def test_files_without_labels_are_refused(name: str, content: bytes, complaint: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VocabularyError, match=complaint):
        Vocabulary.of(tmp_path / name)


@pytest.mark.parametrize("name", ["labels.txt", "labels.json", "labels.yaml", "labels.csv"])
def test_a_missing_file_is_no_label(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / name, str(tmp_path / name)):
        with pytest.raises(VocabularyError, match=f"cannot be read from .*{name}"):
            Vocabulary.of(path)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ([], "at least one label"),
        ("", "at least one label"),
        (" , ,", "at least one label"),
        (["unknown", "cat"], "'unknown' is the answer where no label fits"),
        ("cat,unknown", "'unknown' is the answer where no label fits"),
        (["cat", 3], "3 is not a label"),
        ([None], "None is not a label"),
    ],
    ids=str,
)
def test_labels_that_cannot_name_are_refused(labels: Any, complaint: str) -> None:
    with pytest.raises(VocabularyError, match=complaint):
        Vocabulary.of(labels)


def test_the_value_itself_is_strict() -> None:
    with pytest.raises(VocabularyError, match="'cat' stand twice"):
        Vocabulary(("cat", "dog", "cat"))
    with pytest.raises(VocabularyError, match="'  ' is not a label"):
        Vocabulary(("cat", "  "))
    with pytest.raises(VocabularyError, match="at least one template"):
        Vocabulary(("cat",), ())


def test_named_sets_of_templates() -> None:
    simple, imagenet = named_templates("simple"), named_templates("imagenet")
    assert (len(simple), len(imagenet)) == (7, 80)
    for ours, theirs in (
        (simple, open_clip.SIMPLE_IMAGENET_TEMPLATES),
        (imagenet, open_clip.OPENAI_IMAGENET_TEMPLATES),
    ):
        assert [template.replace("{}", "cat") for template in ours] == [template("cat") for template in theirs]
    assert named_templates("plain") == PLAIN == Vocabulary.of("cat").templates


def test_own_templates() -> None:
    assert Vocabulary.of("cat", "a drawing of a {}").templates == ("a drawing of a {}",)
    assert Vocabulary.of("cat", ["{}", "one {}"]).templates == ("{}", "one {}")


@pytest.mark.parametrize("templates", ["a photo", ["{}", "a photo"], ["{} and {}"], [], "openai"], ids=str)
def test_templates_without_a_place_for_the_label_are_refused(templates: Any) -> None:
    with pytest.raises(VocabularyError, match=r"template"):
        Vocabulary.of("cat", templates)


def test_a_vocabulary_stays_itself_and_takes_other_templates() -> None:
    own = Vocabulary.of("cat, dog", "a drawing of a {}")
    assert Vocabulary.of(own) is own
    assert Vocabulary.of(own, "imagenet") == Vocabulary(("cat", "dog"), named_templates("imagenet"))


def test_digests_tell_vocabularies_apart() -> None:
    one = Vocabulary.of("cat, dog")
    others = [Vocabulary.of("dog, cat"), Vocabulary.of("cat, dog", "simple"), Vocabulary.of(["cat, dog"])]
    assert one.digest == Vocabulary.of(["cat", "dog"]).digest
    assert len({one.digest, *(other.digest for other in others)}) == 4


def test_features_are_open_clips_classifier(clip: ClipModel) -> None:
    labels = [f"thing {number}" for number in range(100)]  # more texts than a batch
    vocabulary = Vocabulary.of(labels, "simple")
    theirs = open_clip.build_zero_shot_classifier(clip.module, clip.tokenizer, labels, vocabulary.templates).T
    ours = encode_labels(clip, vocabulary)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.norm(dim=1), torch.ones(100))


def test_braces_in_labels_are_plain_text(clip: ClipModel) -> None:
    labels = ["a {} b", "{0}", "{name}", "50% {", "{{}}"]
    features = encode_labels(clip, Vocabulary.of(labels, "a photo of a {}"))
    with torch.inference_mode():
        texts = clip.tokenizer([f"a photo of a {label}" for label in labels])
        theirs = clip.module.encode_text(texts, normalize=True)
    torch.testing.assert_close(features, theirs, rtol=0, atol=1e-5)


def test_braces_in_templates_are_plain_text() -> None:
    assert Vocabulary.of("cat", "{name} {}").templates == ("{name} {}",)


def test_words_that_the_embedded_model_never_saw(clip: ClipModel, tmp_path: Path) -> None:
    assert clip.known_tokens is not None
    strange = next(token for token in range(1000, 49000) if token not in clip.known_tokens)
    word = clip.tokenizer.decode([strange]).strip()
    strange_label = f"blue {word}"
    labels = Vocabulary.of(["red apple", strange_label, "Laptop"])
    assert unknown_words(clip, labels) == [strange_label]
    assert unknown_words(load_clip(locate_clip(str(random_clip(tmp_path / "clip")))), labels) == []


def test_stored_features_are_the_models_own(clip: ClipModel) -> None:
    """They are stored in fp16; other weights or labels than those they were made from would silently cost seconds."""
    vocabulary = general_vocabulary(clip)
    with safe_open(embedded_folder() / "tiny_labels.safetensors", "pt") as file:
        assert file.metadata() == {"weights": clip.digest, "vocabulary": vocabulary.digest}
    some = slice(None, None, 40)
    fresh = encode_labels(clip, Vocabulary(vocabulary.labels[some], vocabulary.templates))
    torch.testing.assert_close(general_features(clip)[some], fresh, rtol=0, atol=1e-3)
    assert len(general_features(clip)) == len(vocabulary.labels) > 1000


def test_general_vocabularies(clip: ClipModel, tmp_path: Path) -> None:
    tiny = general_vocabulary(clip)
    assert tiny.templates == CLIPS["tiny"].templates
    assert {"laptop", "hammer", "red apple"} <= set(tiny.labels)
    assert unknown_words(clip, tiny) == []
    everyday = general_vocabulary(load_clip(locate_clip(str(random_clip(tmp_path / "clip")))))
    assert everyday.templates == named_templates("plain")
    assert {"person", "chair", "coffee mug"} & set(everyday.labels)
    assert len(everyday.labels) > 300


def test_json_is_what_it_says(tmp_path: Path) -> None:
    labels = ["café", "naïve", "日本"]
    (tmp_path / "labels.json").write_text(json.dumps(labels, ensure_ascii=False), "utf-8")
    assert Vocabulary.of(tmp_path / "labels.json").labels == tuple(labels)


def test_a_vocabulary_without_some_labels_keeps_what_is_known_of_the_rest() -> None:
    whole = Vocabulary.of(
        [Label("cat", synonyms=("kitten",), parent="animal"), Label("dog", parent="animal"), "mug"], "one {}"
    )
    whole = replace(whole, negatives=("toy",), weights=(1.0,))
    assert whole.without(["mug"]).labels == ("cat", "dog", "animal")
    assert whole.without(["mug"]).details == whole.details
    orphans = whole.without(["animal"])
    assert orphans == replace(whole, labels=("cat", "dog", "mug"), details=(Label("cat", synonyms=("kitten",)),))
    assert whole.lineage("cat") == ("cat", "animal")
    assert orphans.lineage("cat") == ("cat",)
    with pytest.raises(VocabularyError, match="at least one label"):
        whole.without(whole.labels)
    with pytest.raises(VocabularyError, match="a list of words"):
        whole.without("mug")


def test_labels_that_are_asked_for_alike_are_found_in_another_vocabulary() -> None:
    known = Vocabulary.of(["mug", Label("cat", synonyms=("kitten",)), "dog"], "one {}")
    other = Vocabulary.of([Label("dog", parent="animal"), "cat", "mug"], "one {}")
    assert other.rows_of(known) == {"dog": 2, "mug": 0}  # a cat without its synonym is another question
    assert replace(other, templates=("two {}",)).rows_of(known) == {}
