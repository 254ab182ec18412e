"""Segmenter: one value for many images, threads and vocabularies, and its results on the examples."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import segzs
from segzs.cache import EmbeddingCache
from segzs.checkpoints.locate import locate_clip
from segzs.checkpoints.registry import CLIPS
from segzs.clip import ood, regions, text_features
from segzs.clip.crops import Cropping
from segzs.clip.dense import dense_features
from segzs.clip.model import ClipModel, load_clip
from segzs.clip.negatives import negative_labels
from segzs.clip.regions import Naming
from segzs.clip.templates import PLAIN, resolve_templates
from segzs.clip.text_features import encode_vocabulary
from segzs.clip.vocabulary import Vocabulary
from segzs.dataset.labeller import Labeller
from segzs.errors import (
    ImageError,
    ModelError,
    ModelMismatchError,
    PromptError,
    PromptWarning,
    UnfamiliarWarning,
    UsageError,
    VocabularyError,
)
from segzs.loading import load, load_classifier, resolve_device
from segzs.masks import RLE, Mask, iou
from segzs.prompts import Prompt
from segzs.sam.encode import EncodedImage
from segzs.sam.networks.tiny import build_tiny_sam
from segzs.segmenter import Segmenter
from segzs.segments import Segment, Segments
from tests.clip.conftest import COCA, PLAIN_MODEL, random_clip
from tests.conftest import EXAMPLES, Scene

SCENES = ("desk", "picnic", "toolbox")
pytestmark = pytest.mark.filterwarnings("ignore::segzs.UnfamiliarWarning")


@pytest.fixture(scope="module")
def desk(segmenter: Segmenter) -> EncodedImage:
    return segmenter.encode(EXAMPLES / "desk.png")


@pytest.fixture(scope="module")
def named(segmenter: Segmenter) -> Segmenter:
    return segmenter.with_labels(["laptop", "cactus", "red apple"])


def given(scene: Scene) -> Segments:
    """The exact masks of a scene, without names."""
    items = tuple(Segment(rle, predicted_iou=1.0, stability_score=1.0) for rle in scene.masks)
    return Segments(segzs.read_image(scene.path), items)


def pool_regions(segmenter: Segmenter) -> Segmenter:
    return replace(segmenter, region_encoder=replace(segmenter.region_encoder, regions="pooled"))


def probabilities(segment: Segment) -> dict[str, float]:
    return {name.label: name.probability for name in segment.names}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_the_example_objects_are_segmented_and_named(
    name: str, scene: Callable[[str], Scene], segmenter: Segmenter
) -> None:
    content = scene(name)
    segmenter = segmenter.with_labels([label for each in SCENES for label in scene(each).names])
    segments = segmenter.segment(segmenter.encode(content.path), [Prompt.box(*mask.box) for mask in content.masks])
    overlaps = iou([segment.rle for segment in segments], content.masks).diagonal()
    assert (overlaps >= 0.75).sum() >= 8, dict(zip(content.names, overlaps.round(2), strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnfamiliarWarning)
        names = segmenter.name(given(content)).names
    assert sum(ours == theirs for ours, theirs in zip(names, content.names, strict=True)) >= 8, names


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_everything_gives_the_largest_objects(name: str, scene: Callable[[str], Scene], segmenter: Segmenter) -> None:
    largest = sorted(scene(name).masks, key=lambda mask: -mask.area)[:5]
    segments = segmenter.everything(segmenter.encode(scene(name).path))
    assert (iou(largest, [segment.rle for segment in segments]).max(1, initial=0) >= 0.75).sum() >= 3


def test_one_prompt_gives_one_segment(named: Segmenter, desk: EncodedImage) -> None:
    (one,) = named.segment(desk, Prompt.box(41, 22, 195, 224))
    two = named.segment(desk, [Prompt.box(41, 22, 195, 224), Prompt.point(400, 300)])
    assert isinstance(one, Segment)
    assert isinstance(two, Segments)
    assert len(two) == 2
    assert two[0].rle == one.rle
    assert one.image is desk.image
    assert probabilities(two[0]) == pytest.approx(probabilities(one), abs=1e-4)
    assert two.image is desk.image
    assert two.model == "tiny+tiny"
    assert {name.label for name in one.names} == {"laptop", "cactus", "red apple", "unknown"}
    assert sum(name.probability for name in one.names) == pytest.approx(1)
    assert (one.name, one.probability) == (one.names[0].label, one.names[0].probability)


def test_small_boxes_are_segmented_at_a_higher_resolution(named: Segmenter, desk: EncodedImage) -> None:
    small, large = Prompt.box(300, 300, 340, 330), Prompt.box(41, 22, 195, 224)
    assert named.sam.spec.zoom
    zoomed, plain = (named.segment(desk, [small, large], zoom=zoom) for zoom in (None, False))
    assert zoomed[0].rle != plain[0].rle
    assert zoomed[1].rle == plain[1].rle


def test_no_prompts_give_no_segments(named: Segmenter, desk: EncodedImage) -> None:
    none = named.segment(desk, [])
    assert isinstance(none, Segments)
    assert len(none) == 0
    assert none.image is desk.image
    assert len(named.name(none)) == 0
    assert len(named.everything(desk, points_per_side=1, min_area=desk.image.width * desk.image.height + 1)) == 0


def test_prompts_can_be_a_generator(named: Segmenter, desk: EncodedImage) -> None:
    boxes = [(41, 22, 195, 224), (300, 200, 500, 400)]
    assert len(named.segment(desk, (Prompt.box(*box) for box in boxes))) == 2  # type: ignore[call-overload]


def test_multimask_gives_three_ranked_and_named_masks(named: Segmenter, desk: EncodedImage) -> None:
    prompt = Prompt.point(120, 120)
    ranked = named.segment(desk, prompt, multimask=True)
    scores = [segment.predicted_iou for segment in ranked]
    assert len(ranked) == 3
    assert scores == sorted(scores, reverse=True)
    assert all(segment.names for segment in ranked)
    (best,) = named.segment(desk, prompt)
    assert ranked[0].rle == best.rle
    assert len({segment.rle for segment in ranked}) > 1


def test_a_mask_can_be_refined(named: Segmenter, desk: EncodedImage) -> None:
    (first,) = named.segment(desk, Prompt.box(41, 22, 195, 224))
    assert first.low_res_logits is not None
    (refined,) = named.segment(desk, Prompt(points=[(120, 120)], mask=first.low_res_logits))
    assert isinstance(refined, Segment)
    assert refined.mask.shape == (576, 768)
    with pytest.raises(PromptError, match=r"mask alone.* add a point or a box"):
        named.segment(desk, Prompt(mask=first.low_res_logits))
    with pytest.raises(PromptError, match="mask alone"):
        named.decode(desk, [Prompt(mask=first.low_res_logits)])


def test_a_prompt_with_an_empty_mask_gives_a_warning(
    named: Segmenter, desk: EncodedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = Mask(RLE.encode(np.zeros((576, 768), bool)), 0.1, 0.0)
    monkeypatch.setattr("segzs.segmenter.decode", lambda *_, **__: [(empty,)])
    for call in (named.decode, named.segment):
        with pytest.warns(PromptWarning, match=r"the mask of 1 prompt is empty.*5\.0, 7\.0"):
            call(desk, [Prompt.point(5, 7)], zoom=False)


def test_everything_takes_the_options_of_the_generator(named: Segmenter, desk: EncodedImage) -> None:
    shares: list[float] = []
    segments = named.everything(
        desk,
        points_per_side=4,
        predicted_iou_threshold=0.3,
        stability_score_threshold=0.3,
        min_area=500,
        max_masks=3,
        progress=shares.append,
    )
    assert 1 <= len(segments) <= 3
    assert shares[-1] == 1
    assert all(s.predicted_iou >= 0.3 and s.stability_score >= 0.3 and s.area >= 500 and s.names for s in segments)
    with pytest.raises(PromptError, match="points_per_side is 0"):
        named.everything(desk, points_per_side=0)
    with pytest.raises(PromptError, match="progress is 5"):
        named.everything(desk, progress=5)  # type: ignore[arg-type]


def test_naming_again_keeps_the_masks(named: Segmenter, scene: Callable[[str], Scene]) -> None:
    plain = given(scene("desk"))
    again = named.name(plain)
    other = named.with_labels(["hammer", "cat"]).name(again)
    assert [segment.rle for segment in other] == [segment.rle for segment in plain]
    assert not any(segment.names for segment in plain)
    assert {name.label for segment in other for name in segment.names} == {"hammer", "cat", "unknown"}
    assert other.model == "tiny+tiny"


@pytest.mark.slow
def test_a_batch_of_segments_is_named_as_single_ones(named: Segmenter, scene: Callable[[str], Scene]) -> None:
    plain = given(scene("toolbox"))
    many = Segments(plain.image, plain.items * 4)  # more than a batch
    together = named.name(many)
    alone = [named.name(plain[index : index + 1])[0] for index in range(len(plain))]
    for index, segment in enumerate(together):
        assert probabilities(segment) == pytest.approx(probabilities(alone[index % len(alone)]), abs=1e-4)


def test_classify_names_a_whole_image(named: Segmenter, segmenter: Segmenter) -> None:
    from_file = named.classify(EXAMPLES / "desk.png")
    from_pixels = named.classify(np.array(segzs.read_image(EXAMPLES / "desk.png").pixels))
    assert from_file == from_pixels
    assert sum(name.probability for name in from_file) == pytest.approx(1)
    assert len(segmenter.classify(EXAMPLES / "desk.png")) == 10


def test_unknown_is_one_of_the_names_unless_it_is_switched_off(named: Segmenter, desk: EncodedImage) -> None:
    prompt = Prompt.box(41, 22, 195, 224)
    cat = named.with_labels(["cat"])
    negatives = (None, negative_labels(cat.clip, cat.vocabulary, cat.classifier.text_features, threshold=1.0))
    never, always = (replace(cat, classifier=replace(cat.classifier, negatives=one)) for one in negatives)
    (refused,), (taken,) = always.segment(desk, prompt), never.segment(desk, prompt)
    assert [name.label for name in taken.names] == ["cat"]
    assert taken.probability == pytest.approx(1)
    assert (refused.name, len(refused.names)) == ("unknown", 2)


def test_other_labels_share_the_models(segmenter: Segmenter, named: Segmenter) -> None:
    assert named.sam is segmenter.sam
    assert named.clip is segmenter.clip
    assert segmenter.vocabulary.labels != named.vocabulary.labels == ("laptop", "cactus", "red apple")
    assert named.vocabulary.templates == CLIPS["tiny"].templates
    kept = named.with_labels(Vocabulary(["cat", "dog"], "one {}"))
    assert kept.vocabulary.templates == ("one {}",)
    assert kept.classifier.text_features.shape == (2, named.classifier.text_features.shape[1])
    with pytest.raises(VocabularyError, match="at least one is expected"):
        named.with_labels([])


def test_a_segmenter_is_a_value(named: Segmenter, desk: EncodedImage) -> None:
    with pytest.raises(FrozenInstanceError):
        named.classifier = None  # type: ignore[misc]
    before = dict(vars(named))
    named.segment(desk, Prompt.point(300, 300))
    assert vars(named).keys() == before.keys()
    assert all(vars(named)[key] is value for key, value in before.items())


@pytest.mark.parametrize("wrong", [EXAMPLES / "desk.png", "desk.png", None, np.zeros((4, 4, 3), np.uint8)], ids=type)
def test_only_encoded_images_are_segmented(wrong: object, named: Segmenter) -> None:
    for ask in (
        named.everything,
        lambda it: named.segment(it, []),
    ):
        with pytest.raises(PromptError, match=r"is not an encoded image; call segmenter.encode\(image\) first"):
            ask(wrong)  # type: ignore[operator]


@pytest.mark.parametrize("wrong", [(420, 310), [(420, 310)], "420,310", [None]], ids=str)
def test_only_prompts_are_decoded(wrong: object, named: Segmenter, desk: EncodedImage) -> None:
    with pytest.raises(PromptError, match=r"is not a Prompt; use Prompt.point\(x, y\)"):
        named.segment(desk, wrong)  # type: ignore[call-overload]


def test_only_images_are_encoded(named: Segmenter, desk: EncodedImage) -> None:
    with pytest.raises(ImageError, match="EncodedImage"):
        named.encode(desk)
    with pytest.raises(ImageError, match="no such file"):
        named.encode("nowhere.png")


def test_bgr_arrays_of_opencv_are_encoded(segmenter: Segmenter) -> None:
    pixels = segzs.read_image(EXAMPLES / "picnic.png").pixels
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    assert segmenter.encode(bgr, bgr=True).image == segmenter.encode(pixels).image != segmenter.encode(bgr).image


def test_features_of_another_model_are_refused(tmp_path: Path, segmenter: Segmenter, desk: EncodedImage) -> None:
    torch.manual_seed(0)
    save_file(build_tiny_sam().state_dict(), tmp_path / "mine.safetensors")
    mine = load(sam=f"tiny:{tmp_path / 'mine.safetensors'}", device="cpu")
    with pytest.raises(ModelMismatchError, match="encode it with the model that segments it"):
        mine.segment(desk, Prompt.point(10, 10))
    with pytest.raises(ModelMismatchError):
        mine.everything(desk)
    with pytest.raises(ModelMismatchError):
        segmenter.segment(mine.encode(EXAMPLES / "desk.png"), Prompt.point(10, 10))


@pytest.fixture
def _one_core_a_thread() -> Iterator[None]:
    """Eight threads that each compute on all cores take minutes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("_one_core_a_thread")
def test_eight_threads_and_two_images_give_the_results_of_one_thread(named: Segmenter) -> None:
    """No model keeps features of an image: interleaved calls give the results of serial ones."""
    corners = [(40 + 50 * i, 30 + 60 * i) for i in range(6)]
    prompts = [Prompt.box(x, y, x + 140, y + 130) for x, y in corners] + [Prompt.point(x + 40, y) for x, y in corners]
    images = [segzs.read_image(EXAMPLES / "desk.png"), segzs.read_image(EXAMPLES / "toolbox.png").pixels[:, :500]]

    def answer(segmenter: Segmenter, number: int) -> Segments:
        photo = segmenter.encode(images[number % 2])
        segments = segmenter.segment(photo, prompts[number % 3 :: 3])
        for prompt in prompts[number % 4 :: 4]:
            segments += segmenter.segment(photo, prompt)
        return segments

    def at_once(number: int) -> Segments:
        start.wait(timeout=60)
        return answer(named if number % 3 else named.with_labels(named.vocabulary), number)

    start = threading.Barrier(8)
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(at_once, range(8)))
    for number, segments in enumerate(together):
        alone = answer(named, number)
        assert len(segments) == len(alone) == 7
        assert segments.image == alone.image
        for ours, theirs in zip(segments, alone, strict=True):
            assert ours.rle == theirs.rle or iou([ours.rle], [theirs.rle])[0, 0] > 0.999
            assert probabilities(ours) == pytest.approx(probabilities(theirs), abs=1e-4)


def test_labels_that_the_embedded_clip_was_not_trained_on_give_a_warning(segmenter: Segmenter) -> None:
    with pytest.warns(
        UnfamiliarWarning, match=r"was not trained on some words of 'theodolite of zyzzyva'.*segzs models"
    ):
        segmenter.with_labels(["red apple", "theodolite of zyzzyva"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnfamiliarWarning)
        segmenter.with_labels(["red apple", "laptop"])


def test_images_that_the_embedded_models_were_not_trained_on_give_a_warning(
    named: Segmenter, scene: Callable[[str], Scene]
) -> None:
    content = given(scene("desk"))
    for familiar, expected in ((1.1, 1), (-1.1, 0), (None, 0)):
        clip = replace(named.clip, spec=replace(named.clip.spec, ood_threshold=familiar))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UnfamiliarWarning)
            replace(named, classifier=replace(named.classifier, clip=clip)).name(content)
        text = [str(warning.message) for warning in caught if warning.category is UnfamiliarWarning]
        assert len(text) == expected
        assert all("segzs fetch vit_b" in message for message in text)


def test_load_uses_its_arguments(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    segmenter = load(
        labels=tmp_path / "labels.txt",
        naming=Naming(templates="a {}", unknown=0.4, background="blur", margin=0.3),
        device="cpu",
        cache_memory=10**6,
    )
    assert segmenter.vocabulary == Vocabulary(("cat", "dog"), ("a {}",))
    assert segmenter.cache.memory == 10**6
    assert (segmenter.classifier.naming.unknown, segmenter.region_encoder.cropping) == (0.4, Cropping("blur", 0.3))
    assert segmenter.sam.device.type == segmenter.clip.device.type == "cpu"


def test_load_gives_the_embedded_models_by_default(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    assert segmenter.model == "tiny+tiny"
    assert segmenter.classifier.naming.unknown == "auto"
    assert segmenter.region_encoder.cropping.background == segmenter.clip.spec.background
    assert len(segmenter.vocabulary.labels) > 1000
    assert load(labels=["cat"], naming=Naming(unknown=None)).classifier.naming.unknown is None
    monkeypatch.setenv("SEGZS_MODEL", "vit_b")
    monkeypatch.chdir("/")
    with pytest.raises(ModelError, match="segzs fetch vit_b"):
        load()


@pytest.mark.slow
def test_another_clip_has_its_own_labels_and_templates(tmp_path: Path) -> None:
    folder = random_clip(tmp_path / "clip")
    segmenter = load(clip=str(folder), labels=["cat", "zyzzyva"], device="cpu")
    assert segmenter.model == "tiny+local:clip"
    assert segmenter.vocabulary.templates == PLAIN
    assert segmenter.region_encoder.cropping.background == "blur"
    assert len(load(clip=str(folder), device="cpu").vocabulary.labels) > 300
    segments = segmenter.segment(segmenter.encode(EXAMPLES / "desk.png"), Prompt.point(100, 100))
    assert segments.names


def test_errors_of_load_list_the_choices(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"unknown preset 'huge' .*; choose from tiny, photo-fast, photo, mobile, vit_b"
    ):
        load("huge")
    for function in (load, load_classifier):
        with pytest.raises(ModelError, match=r"clip is \[\]; the name of a model is expected"):
            function(clip=[])
    with pytest.raises(ModelError, match="the device 'abacus' cannot be used here"):
        load(device="abacus")
    with pytest.raises(VocabularyError, match=r"no such file: .*labels.txt"):
        load(labels=tmp_path / "labels.txt")
    with pytest.raises(UsageError, match="unknown background 'black'; choose from blur, grey, cut, keep"):
        load(naming=Naming(background="black"))
    assert resolve_device("cpu") == torch.device("cpu")


def test_masks_that_touch_the_border_are_named(named: Segmenter) -> None:
    image = segzs.read_image(EXAMPLES / "desk.png")
    whole, corner, nothing = (np.zeros((576, 768), bool) for _ in range(3))
    whole[:] = True
    corner[500:, 700:] = True
    items = tuple(Segment(RLE.encode(mask), 1.0, 1.0) for mask in (whole, corner, nothing))
    assert all(segment.names for segment in named.name(Segments(image, items)))


def test_the_embedded_models_use_float32_by_default(segmenter: Segmenter) -> None:
    assert (segmenter.sam.dtype, segmenter.clip.dtype) == (torch.float32, torch.float32)
    halved = segzs.load("tiny", dtype="bfloat16", device="cpu", cache=False)
    assert (halved.sam.dtype, halved.clip.dtype) == (torch.bfloat16, torch.bfloat16)
    with pytest.raises(segzs.ModelError, match="unknown dtype 'float16'"):
        segzs.load("tiny", dtype="float16")


def test_other_labels_keep_the_templates(segmenter: Segmenter) -> None:
    naming = Naming(templates="simple")
    simple = replace(segmenter, classifier=replace(segmenter.classifier, naming=naming))
    for labels in (["cat"], Vocabulary(["cat"], "one {}")):
        assert simple.with_labels(labels).vocabulary.templates == resolve_templates("simple")


def test_naming_keeps_the_model_of_the_masks(segmenter: Segmenter, scene: Callable) -> None:
    foreign = replace(given(scene("desk")), model="vit_h+ViT-L-14")
    assert segmenter.name(foreign).model == "vit_h+tiny"
    with pytest.raises(PromptError, match="cannot name Segment; give Segments"):
        segmenter.name(foreign[0])  # type: ignore[arg-type]


def test_features_cannot_be_written_to(segmenter: Segmenter, desk: EncodedImage) -> None:
    with pytest.raises(RuntimeError, match=r"[Ii]nference"):
        segmenter.encode(desk.image).features.zero_()


def test_a_few_unfamiliar_objects_give_no_warning(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ood, "general_features", lambda clip: torch.eye(2)[:1])
    assert segmenter.clip.spec.ood_threshold is not None
    cosine = segmenter.clip.spec.ood_threshold - 0.01
    seen = torch.tensor([[cosine, (1 - cosine**2) ** 0.5]])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ood.warn_if_out_of_distribution(segmenter.clip, seen)
        assert not caught
        ood.warn_if_out_of_distribution(segmenter.clip, seen.expand(ood.FEW, 2))
    assert [warning.filename for warning in caught] == [__file__]


def test_an_empty_mask_gives_no_warning(segmenter: Segmenter, scene: Callable) -> None:
    content = given(scene("desk"))
    empty = replace(content[0], rle=RLE.encode(np.zeros((content.image.height, content.image.width), bool)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnfamiliarWarning)
        segmenter.name(Segments(content.image, (empty,)))


def test_a_device_without_memory_is_refused() -> None:
    with pytest.raises(ModelError, match="'meta' cannot be used here"):
        resolve_device("meta")


# Pooled names


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the images whose dense features were computed."""
    seen: list[tuple[int, ...]] = []

    def counting(clip: ClipModel, pixels: np.ndarray) -> torch.Tensor:
        seen.append(pixels.shape)
        return dense_features(clip, pixels)

    monkeypatch.setattr(regions, "dense_features", counting)
    return seen


@pytest.mark.slow
def test_pooled_names_encode_an_image_once(named: Segmenter, desk: EncodedImage, looks: list) -> None:
    pooled = pool_regions(named).with_cache(EmbeddingCache())
    segments = pooled.everything(desk, points_per_side=4)
    (one,) = pooled.segment(desk, Prompt.box(41, 22, 195, 224))
    other = pooled.with_labels(["hammer", "cat"])
    assert other.region_encoder.regions == "pooled"
    assert {name.label for segment in other.name(segments) for name in segment.names} == {"hammer", "cat", "unknown"}
    assert looks == [(576, 768, 3)]
    Labeller.of(pooled, points_per_side=4)("desk.png", (EXAMPLES / "desk.png").read_bytes())
    assert looks == [(576, 768, 3)] * 2
    assert sum(probabilities(one).values()) == pytest.approx(1)
    assert probabilities(one) != probabilities(named.segment(desk, Prompt.box(41, 22, 195, 224))[0])


def test_pooled_names_are_better_than_chance(named: Segmenter, scene: Callable[[str], Scene]) -> None:
    """The embedded CLIP was trained on crops; its dense features still are far better than chance."""
    right = of = 0
    for content in map(scene, SCENES):
        labelled = named.with_labels(sorted(set(content.names)))
        pooled = pool_regions(replace(labelled, classifier=replace(labelled.classifier, negatives=None)))
        names = pooled.name(given(content)).names
        right += sum(ours == theirs for ours, theirs in zip(names, content.names, strict=True))
        of += len(names)
    assert right / of > 0.3  # chance is 1 in 10


def test_a_single_pixel_and_an_empty_mask_have_pooled_names(named: Segmenter) -> None:
    image = segzs.read_image(EXAMPLES / "desk.png")
    masks = np.zeros((2, image.height, image.width), bool)
    masks[0, 100, 100] = True
    speck, nothing = (Segment(RLE.encode(mask), predicted_iou=1.0, stability_score=1.0) for mask in masks)
    against = negative_labels(named.clip, named.vocabulary, named.classifier.text_features, threshold=0.1)
    pooled = pool_regions(replace(named, classifier=replace(named.classifier, negatives=against)))
    names = pooled.name(Segments(image, (speck, nothing)))
    assert all(sum(probabilities(segment).values()) == pytest.approx(1) for segment in names)
    assert names[1].name == "unknown"


def test_unknown_regions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown regions 'poold'; choose from crops, pooled, both"):
        Naming(regions="poold")
    pooled = Naming(regions="pooled")
    with pytest.raises(ModelError, match=r"local:coca .* has no dense features"):
        load("tiny", ["cat"], clip=str(random_clip(tmp_path / "coca", COCA)), naming=pooled)
    assert load("tiny", naming=pooled, cache=False).region_encoder.regions == "pooled"


# Labels are encoded once


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The labels that the text encoder encoded."""
    seen: list[tuple[str, ...]] = []

    def counting(clip: ClipModel, vocabulary: Vocabulary) -> torch.Tensor:
        seen.append(vocabulary.labels)
        return encode_labels(clip, vocabulary)

    encode_labels = text_features._encode_labels
    monkeypatch.setattr(text_features, "_encode_labels", counting)
    return seen


def test_labels_are_encoded_once(segmenter: Segmenter, texts: list) -> None:
    fresh = segmenter.with_cache(EmbeddingCache())
    first, other, again = (fresh.with_labels(labels) for labels in (["cat", "dog"], ["dog", "cat"], ["cat", "dog"]))
    assert texts == [("cat", "dog"), ("dog", "cat")]
    assert torch.equal(first.classifier.text_features, again.classifier.text_features)
    torch.testing.assert_close(
        first.classifier.text_features, other.classifier.text_features.flip(0), rtol=0, atol=1e-6
    )
    assert torch.equal(first.classifier.text_features, encode_vocabulary(fresh.clip, first.vocabulary))
    assert not torch.equal(
        fresh.with_labels(Vocabulary(["cat", "dog"], "one {}")).classifier.text_features, first.classifier.text_features
    )


@pytest.mark.slow
def test_long_vocabularies_are_kept_on_disk(segmenter: Segmenter, texts: list, tmp_path: Path) -> None:
    long = [f"thing {number}" for number in range(200)]  # two sentences each
    first, again = (segmenter.with_cache(EmbeddingCache(tmp_path)).with_labels(long) for _ in range(2))
    assert texts == [tuple(long)]
    assert torch.equal(first.classifier.text_features, again.classifier.text_features)
    assert torch.equal(again.classifier.text_features, encode_vocabulary(segmenter.clip, again.vocabulary))
    segmenter.with_cache(EmbeddingCache(tmp_path)).with_labels(["cat", "dog"])
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_the_same_weights_with_another_activation_have_their_own_text_features(tmp_path: Path) -> None:
    """OpenAI's weights in an architecture without QuickGELU are another model, though the file is the same."""
    cache = EmbeddingCache(tmp_path / "cache")
    features, digests = [], set()
    for quick in (False, True):
        model = {**PLAIN_MODEL, "quick_gelu": quick}
        clip = load_clip(locate_clip(str(random_clip(tmp_path / f"clip {quick}", model))))
        digests.add(clip.digest)
        vocabulary = Vocabulary([f"thing {number}" for number in range(300)])
        features.append(encode_vocabulary(clip, vocabulary, cache))
        assert torch.equal(features[-1], encode_vocabulary(clip, vocabulary))
    assert (features[0] - features[1]).abs().max() > 5e-3
    assert len(digests) == 1


# Forked processes

FORK = """
import multiprocessing, sys
import torch
import segzs
from segzs import Prompt
from segzs.masks import iou
from tests.conftest import EXAMPLES

def work(number):
    segments = segmenter.segment(image, Prompt.point(100, 100))
    segments += segmenter.everything(image, points_per_side=2, **thresholds)
    return [segment.rle for segment in segments], torch.get_num_threads()

torch.set_num_threads(2)
thresholds = {"predicted_iou_threshold": 0.3, "stability_score_threshold": 0.3}
segmenter = segzs.load(labels=["cat"], device="cpu", cache=False)
image = segmenter.encode(EXAMPLES / "desk.png")
expected, threads = work(0)
with multiprocessing.get_context("fork").Pool(1) as pool:
    ((masks, threads_of_child),) = pool.map_async(work, [0]).get(100)
assert iou(masks, expected).diagonal().min() > 0.99
assert (threads, threads_of_child) == (2, 1)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_gives_the_same_masks() -> None:
    root = EXAMPLES.parent
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
