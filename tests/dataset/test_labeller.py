"""One image file -> one record, with the embedded models."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

import segzs
from segzs.dataset.labeller import Labeller, load_labeller
from segzs.errors import ImageError, PromptError
from segzs.formats.annotations import ImageAnnotations
from segzs.formats.native import from_line, to_dict, to_line
from segzs.image import read_image
from segzs.sam.encode import PreparedImage, encode
from tests.conftest import EXAMPLES

pytestmark = pytest.mark.filterwarnings("ignore::segzs.UnfamiliarWarning")
FEW = {"points_per_side": 4, "predicted_iou_threshold": 0.5, "stability_score_threshold": 0.5}


def with_cropping(segmenter: segzs.Segmenter, **options: Any) -> segzs.Segmenter:
    regions = segmenter.region_encoder
    return replace(segmenter, region_encoder=replace(regions, cropping=replace(regions.cropping, **options)))


@pytest.fixture(scope="module")
def data() -> bytes:
    return (EXAMPLES / "desk.png").read_bytes()


@pytest.fixture(scope="module")
def labeller(segmenter: segzs.Segmenter) -> Labeller:
    return Labeller.of(segmenter, **FEW)


@pytest.fixture(scope="module")
def record(labeller: Labeller, data: bytes) -> ImageAnnotations:
    return labeller("desk.png", data)


@pytest.mark.slow
def test_a_record_equals_the_result_of_the_segmenter(
    record: ImageAnnotations, segmenter: segzs.Segmenter, data: bytes
) -> None:
    expected = segmenter.everything(segmenter.encode(data), **FEW)
    assert len(record.segments) > 0
    assert to_dict(record).items() >= expected.to_dict().items()
    assert (record.digests.sam, record.digests.clip) == (segmenter.sam.digest, segmenter.clip.digest)
    assert record.on(expected.image).overlay().size == (768, 576)


def test_a_record_round_trips_through_its_line(record: ImageAnnotations) -> None:
    assert from_line(to_line(record)) == record


@pytest.mark.slow
def test_a_prepared_image_is_encoded_like_the_image(labeller: Labeller, data: bytes) -> None:
    sam, image = labeller.segmenter.sam, read_image(data)
    prepared = labeller.prepare(data)
    assert prepared == image
    assert torch.equal(encode(sam, prepared).features, encode(sam, image).features)
    foreign = PreparedImage(image.pixels, prepared.resized[:64, :64])  # prepared for a smaller model
    assert torch.equal(encode(sam, foreign).features, encode(sam, image).features)


def test_settings_are_json_and_differ_between_configurations(labeller: Labeller, segmenter: segzs.Segmenter) -> None:
    settings = labeller.settings
    assert json.loads(json.dumps(settings)) == settings
    classifier, never = segmenter.classifier, replace(segmenter.classifier.naming, unknown=None)
    others = [
        Labeller.of(segmenter, **FEW, min_area=50),
        Labeller.of(segmenter, **FEW, merge=False),
        Labeller.of(segmenter.with_labels(["cat", "dog"]), **FEW),
        Labeller.of(replace(segmenter, classifier=replace(classifier, naming=never)), **FEW),
        Labeller.of(with_cropping(segmenter, margin=0.2), **FEW),
        Labeller.of(with_cropping(segmenter, background="keep"), **FEW),
        Labeller.of(replace(segmenter, sam=replace(segmenter.sam, digest="other")), **FEW),
    ]
    assert all(other.settings != settings for other in others)
    assert Labeller.of(segmenter, **FEW).settings == settings


@pytest.mark.slow
def test_load_labeller_equals_load_and_of(record: ImageAnnotations, data: bytes) -> None:
    loaded = load_labeller("tiny", everything=FEW)
    assert loaded("desk.png", data) == record
    assert loaded.segmenter.cache.folder is None


def test_the_memory_for_embeddings_is_small(labeller: Labeller, segmenter: segzs.Segmenter) -> None:
    assert labeller.segmenter.cache.memory < segmenter.cache.memory


def test_wrong_options_and_bytes_that_are_not_an_image(labeller: Labeller, segmenter: segzs.Segmenter) -> None:
    with pytest.raises(PromptError, match="points_per_side is 0"):
        Labeller.of(segmenter, points_per_side=0)
    with pytest.raises(ImageError, match="not an image"):
        labeller("words.jpg", b"words")
