"""Examples: what they change, what they leave alone, and how they are stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

import segzs
from segzs.cache import EmbeddingCache
from segzs.clip import text_features
from segzs.clip.regions import Naming
from segzs.clip.support_set import SupportSet
from segzs.errors import AnnotationError, ModelMismatchError, OutputError, SegzsError, VocabularyError
from tests.conftest import read_scene

LABELS = [f"thing {number}" for number in range(6)]
WIDTH = 32
PLANT = segzs.Prompt.box(41, 22, 195, 224)
PROMPTS = [segzs.Prompt.box(258, 45, 502, 258), PLANT]


def clusters(per_label: int, seed: int, noise: float = 0.6) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Features around one center a label, with most noise in four directions, and their labels."""
    centers = torch.randn(len(LABELS), WIDTH, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    scale = torch.ones(WIDTH)
    scale[:4] = 6
    noisy = centers[:, None] + noise * scale * torch.randn(len(LABELS), per_label, WIDTH, generator=generator)
    return F.normalize(noisy.flatten(0, 1), dim=-1), tuple(label for label in LABELS for _ in range(per_label))


def accuracy(support_set: SupportSet) -> float:
    features, labels = clusters(50, seed=9)
    best = support_set.logits(features, LABELS).argmax(1).tolist()
    return sum(LABELS[i] == label for i, label in zip(best, labels, strict=True)) / len(labels)


def test_more_examples_are_more_accurate() -> None:
    accuracies = [accuracy(SupportSet(*clusters(shots, seed=1), "digest")) for shots in (1, 4, 16)]
    assert accuracies == sorted(accuracies)
    assert accuracies[0] > 2 / len(LABELS)
    assert accuracies[2] > accuracies[0] + 0.1


def test_the_shared_covariance_beats_the_nearest_mean() -> None:
    features, labels = clusters(16, seed=1)
    means = torch.stack([features[[name == label for name in labels]].mean(0) for label in LABELS])
    test, right = clusters(50, seed=9)
    nearest = torch.cdist(test, means).argmin(1).tolist()
    by_means = sum(LABELS[i] == label for i, label in zip(nearest, right, strict=True)) / len(right)
    assert accuracy(SupportSet(features, labels, "digest")) > by_means


def test_labels_without_examples_keep_their_logits() -> None:
    support_set = SupportSet(*clusters(2, seed=1), "digest")
    logits = support_set.logits(clusters(1, seed=2)[0], ["a word", *LABELS[:2], "another"])
    assert logits.shape == (6, 4)
    assert logits[:, [0, 3]].abs().max() == 0
    assert logits[:, 1:3].max() > 0


def test_logits_do_not_depend_on_the_cone_of_the_features() -> None:
    """CLIPs differ in how similar any two images are."""
    features, labels = clusters(4, seed=1)
    narrow = F.normalize(features + 3 * F.normalize(torch.ones(WIDTH), dim=0), dim=-1)
    wide, tight = (SupportSet(f, labels, "").logits(f, LABELS) for f in (features, narrow))
    assert (tight.argmax(1) == wide.argmax(1)).float().mean() > 0.9
    assert tight.amax(1).mean() == pytest.approx(float(wide.amax(1).mean()), rel=0.5)


def test_one_example_raises_what_is_similar_and_lowers_nothing() -> None:
    one, near, far = F.normalize(torch.tensor([[1.0, 0, 0], [1, 0.2, 0], [0, 1, 0]]), dim=-1)
    logits = SupportSet(one[None], ("cat",), "").logits(torch.stack([one, near, far]), ["cat", "dog"])
    assert logits[0, 0] > logits[1, 0] > 0 == logits[2, 0]
    assert logits.isfinite().all()


def test_examples_survive_a_file(tmp_path: Path) -> None:
    support_set = SupportSet(*clusters(2, seed=1), "digest")
    loaded = SupportSet.load(support_set.save(tmp_path / "my.safetensors"))
    assert loaded.digest == support_set.digest
    assert loaded.counts == dict.fromkeys(LABELS, 2)
    assert [file.name for file in tmp_path.iterdir()] == ["my.safetensors"]
    with pytest.raises(OutputError, match="cannot write the examples to"):
        support_set.save(tmp_path / "my.safetensors" / "inside.safetensors")


@pytest.mark.parametrize("content", [None, b"", b"no safetensors", "weights"])
def test_other_files_are_refused(content: bytes | str | None, tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "weights":
        save_file({"features": torch.eye(3)}, path)
    with pytest.raises(AnnotationError, match="is not a file that"):
        SupportSet.load(path)


def test_examples_of_another_clip_are_refused() -> None:
    ours, others = (SupportSet(torch.eye(3), ("a", "b", "c"), digest) for digest in ("ours", "others"))
    assert (ours + ours).counts == {"a": 2, "b": 2, "c": 2}
    with pytest.raises(ModelMismatchError, match="encoded by another CLIP"):
        ours + others
    with pytest.raises(SegzsError, match="one label for each"):
        SupportSet(torch.eye(3), ("a",), "ours")


# Examples in a segmenter


@pytest.fixture(scope="module")
def desk() -> Path:
    return read_scene("desk").path


@pytest.fixture(scope="module")
def labelled(segmenter: segzs.Segmenter) -> segzs.Segmenter:
    return segmenter.with_labels(["laptop", "potted plant", "red apple"])


@pytest.mark.slow
def test_a_corrected_name_is_an_example_at_once(labelled: segzs.Segmenter, desk: Path, tmp_path: Path) -> None:
    image = labelled.encode(desk)
    segments = labelled.segment(image, PROMPTS)
    corrected = labelled.with_examples({"fern": segments[1]})
    assert (segments[1].name, corrected.name(segments).names) == ("unknown", ["laptop", "fern"])
    assert labelled.examples is None
    assert labelled.vocabulary.labels == ("laptop", "potted plant", "red apple")
    assert corrected.segment(image, PLANT)[0].name == "fern"

    assert corrected.examples is not None
    file = corrected.examples.save(tmp_path / "corrections.safetensors")
    assert labelled.with_examples(file).name(segments).names == ["laptop", "fern"]
    both = corrected.with_examples({"computer": segments[:1]}).examples
    assert both is not None
    assert both.counts == {"fern": 1, "computer": 1}
    pooled = segzs.load("tiny", ["laptop"], naming=Naming(regions="pooled"), cache=False)
    with pytest.raises(ModelMismatchError, match="encode the images again"):
        pooled.with_examples(file)


def test_images_are_examples(labelled: segzs.Segmenter, desk: Path) -> None:
    plant = segzs.read_image(desk).pixels[21:224, 18:220]
    assert labelled.with_examples({"fern": [plant, plant[:, ::-1]]}).classify(plant)[0].label == "fern"


def test_wrong_examples_are_refused(labelled: segzs.Segmenter, desk: Path) -> None:
    for name in ("unknown", 5, ("fern",)):
        with pytest.raises(VocabularyError):
            labelled.with_examples({name: desk})  # type: ignore[arg-type]
    for examples in ({}, {"fern": []}, {"cactus": desk, "fern": []}):
        with pytest.raises(SegzsError, match="at least one"):
            labelled.with_examples(examples)
    with pytest.raises(segzs.ImageError, match="int"):
        labelled.with_examples({"fern": 5})
    alone = segzs.Segment(read_scene("desk").masks[0], 1, 1)
    with pytest.raises(segzs.PromptError, match="without pixels"):
        labelled.with_examples({"fern": alone})
    for path in (desk.parent, desk):
        with pytest.raises(AnnotationError, match=f"{path} is not a file that SupportSet.save wrote .*{{'fern': "):
            labelled.with_examples(path)


@pytest.mark.slow
def test_one_example_stands_for_a_list_and_names_are_normalised(labelled: segzs.Segmenter, desk: Path) -> None:
    image = labelled.encode(desk)
    segments = labelled.segment(image, PROMPTS)
    for example, count in ((str(desk), 1), (segments, 2), (segments[0], 1), (image.image, 1), (image.image.pixels, 1)):
        examples = labelled.with_examples({"  my   fern": example}).examples
        assert examples is not None
        assert examples.counts == {"my fern": count}
    examples = labelled.with_examples({"my fern": segments, "my  fern": [image.image]}).examples
    assert examples is not None
    assert examples.counts == {"my fern": 3}


def test_repeated_examples_do_not_reduce_the_negatives(labelled: segzs.Segmenter, desk: Path) -> None:
    (segment,) = labelled.segment(labelled.encode(desk), [PLANT])
    once = labelled.with_examples({"fern": segment})
    often = once
    for _ in range(5):
        often = often.with_examples({"fern": segment})
    assert once.classifier.negatives is not None
    assert often.classifier.negatives is not None
    assert len(once.classifier.negatives.general) == len(often.classifier.negatives.general) > 0


def test_only_new_labels_are_encoded(segmenter: segzs.Segmenter, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    encode_texts = text_features.encode_texts

    def counting(clip, texts):
        encoded.extend(texts)
        return encode_texts(clip, texts)

    monkeypatch.setattr(text_features, "encode_texts", counting)
    extended = segmenter.with_cache(EmbeddingCache()).with_examples({"zyzzyva": desk})
    assert encoded == [template.replace("{}", "zyzzyva") for template in segmenter.vocabulary.templates]
    assert torch.equal(extended.classifier.text_features[:-1], segmenter.classifier.text_features)
    assert extended.vocabulary.labels[-1] == "zyzzyva"


def test_examples_of_other_crops_are_refused(labelled: segzs.Segmenter, desk: Path) -> None:
    examples = labelled.with_examples({"fern": desk}).examples
    assert examples is not None
    encoder = labelled.region_encoder
    other = replace(encoder, cropping=replace(encoder.cropping, background="keep", margin=0.5))
    with pytest.raises(ModelMismatchError, match="with other regions"):
        replace(labelled, region_encoder=other).with_examples(examples)
