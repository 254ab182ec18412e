from pathlib import Path

import numpy as np
import pytest

import segzs
from segzs.clip.crops import BACKGROUNDS, Cropping
from segzs.clip.vocabulary import Vocabulary
from segzs.errors import SegzsError, VocabularyError
from segzs.evaluate.choices import PLAIN_BOX, choices, choices_table
from segzs.evaluate.measure import Plan, measure
from segzs.evaluate.naming import judge
from segzs.evaluate.options import read_options
from segzs.evaluate.truth import read_coco
from tests.conftest import EXAMPLES
from tests.evaluate.conftest import Write


def test_every_crop_mode_with_every_set_of_templates(segmenter: segzs.Segmenter, write_coco: Write) -> None:
    truth = read_coco(write_coco("desk", "picnic"), EXAMPLES).some(objects=2)
    labels = sorted({name for picture in truth.pictures for name in picture.names})
    found = choices(segmenter.with_labels(labels), truth, margins=(0.0,))
    keys = [choice.key for choice in found]
    assert {key[0] for key in keys} == set(BACKGROUNDS)
    assert {key[1] for key in keys} == {0.0, 0.1}  # 0.1 is in use
    assert {key[1] for key in keys if key[0] == "cut"} == {0.0}  # what is cut out has no margin
    assert {key[2] for key in keys} >= {"plain", "simple", "imagenet"}
    assert len(set(keys)) == len(keys)
    assert [c.top_1.value for c in found] == sorted((c.top_1.value for c in found), reverse=True)
    plain = next(choice for choice in found if choice.key == PLAIN_BOX)
    assert plain.gain.difference.value == 0
    for choice in found[:3]:
        assert choice.gain.difference.value == pytest.approx(choice.top_1.value - plain.top_1.value)
    (in_use,) = [choice for choice in found if choice.in_use]
    assert in_use.cropping == segmenter.region_encoder.cropping
    (rows,) = measure([segmenter.with_labels(labels)], truth, Plan(("names",), removed=0))
    assert in_use.top_1.value == pytest.approx(np.mean([row.values["top_1"] for row in rows]))
    assert set(in_use.by_source) == {"desk", "picnic"}
    header, *lines = choices_table(found)
    assert len(lines) == len(found)
    assert all(len(line) == len(header) for line in lines)


def test_a_choice_in_use_that_is_no_usual_one(write_coco: Write) -> None:
    truth = read_coco(write_coco("desk"), EXAMPLES).some(objects=1)
    odd = segzs.load(
        labels=truth.pictures[0].names, templates="a sketch of {}", background="keep", margin=0.2, cache=False
    )
    (in_use,) = [choice for choice in choices(odd, truth, margins=()) if choice.in_use]
    assert (in_use.cropping, in_use.templates) == (Cropping("keep", 0.2), "given")


def test_weights_of_templates_are_in_use(write_coco: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = read_coco(write_coco("desk"), EXAMPLES).some(objects=1)
    vocabulary = Vocabulary(truth.pictures[0].names, ("one {}", "two {}"), weights=(1.0, 0.0))
    weighed = segzs.load(labels=vocabulary, cache=False)
    asked = []
    monkeypatch.setattr(
        "segzs.evaluate.choices.judge",
        lambda names, of, vocabulary: asked.append(vocabulary) or judge(names, of, vocabulary),
    )
    choices(weighed, truth, margins=())
    assert vocabulary in asked


def test_choices_need_names_that_are_labels(segmenter: segzs.Segmenter, write_coco: Write) -> None:
    with pytest.raises(VocabularyError, match="none of the annotated names"):
        choices(segmenter.with_labels("cow, sheep"), read_coco(write_coco("desk"), EXAMPLES))


def test_options_are_loads_arguments(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("background: keep\nmargin: 0\nunknown: null\nlabels: [cat, dog]\ntemplates: imagenet\n")
    options = read_options(file)
    assert options == {
        "background": "keep",
        "margin": 0,
        "unknown": None,
        "labels": ["cat", "dog"],
        "templates": "imagenet",
    }
    assert segzs.load(**options, cache=False).cropping == Cropping("keep", 0)
    file.write_text("# nothing\n")
    assert read_options(file) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backgrund: keep", r"a\.yaml: 'backgrund' is no option; there are model, sam, .*background"),
        ("1: keep", "'1' is no option"),
        ("- keep", "holds no options"),
        ("keep", "holds no options"),
        ("a: [", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_other_options_are_one_clear_error(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(SegzsError, match=message):
        read_options(tmp_path / "a.yaml")
