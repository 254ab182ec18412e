"""Examples beside words: what they change, what they leave alone, and how they are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import segzs
from segzs.cache import EmbeddingCache
from segzs.clip import namers
from segzs.clip.support_set import SupportSet
from segzs.clip.vocabulary import encode_labels
from segzs.errors import AnnotationError, ModelMismatchError, OutputError, SegzsError, VocabularyError

LABELS = [f"thing {number}" for number in range(6)]
WIDTH = 32


def clusters(per_label: int, seed: int, noise: float = 0.6) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Features around one fixed centre a label, most of their noise along few directions, and their labels."""
    centres = torch.randn(len(LABELS), WIDTH, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    scale = torch.ones(WIDTH)
    scale[:4] = 6
    noisy = centres[:, None] + noise * scale * torch.randn(len(LABELS), per_label, WIDTH, generator=generator)
    return F.normalize(noisy.flatten(0, 1), dim=-1), tuple(label for label in LABELS for _ in range(per_label))


def accuracy(shown: SupportSet) -> float:
    features, labels = clusters(50, seed=9)
    best = shown.evidence(features, LABELS).argmax(1).tolist()
    return sum(LABELS[i] == label for i, label in zip(best, labels, strict=True)) / len(labels)


def test_more_examples_name_better_and_one_already_does() -> None:
    rising = [accuracy(SupportSet(*clusters(shots, seed=1), "a CLIP")) for shots in (1, 4, 16)]
    assert rising == sorted(rising)
    assert rising[0] > 2 / len(LABELS)
    assert rising[2] > rising[0] + 0.1


def test_the_shared_covariance_beats_the_nearest_mean() -> None:
    features, labels = clusters(16, seed=1)
    means = torch.stack([features[[name == label for name in labels]].mean(0) for label in LABELS])
    test, right = clusters(50, seed=9)
    nearest = torch.cdist(test, means).argmin(1).tolist()
    by_means = sum(LABELS[i] == label for i, label in zip(nearest, right, strict=True)) / len(right)
    assert accuracy(SupportSet(features, labels, "a CLIP")) > by_means


def test_labels_without_examples_keep_what_their_words_say() -> None:
    shown = SupportSet(*clusters(2, seed=1), "a CLIP")
    evidence = shown.evidence(clusters(1, seed=2)[0], ["a word", *LABELS[:2], "another"])
    assert evidence.shape == (6, 4)
    assert evidence[:, [0, 3]].abs().max() == 0
    assert evidence[:, 1:3].abs().min() > 0


def test_what_counts_is_how_far_means_lie_apart_not_the_cone_that_features_live_in() -> None:
    """CLIPs differ in how similar any two pictures are to them."""
    features, labels = clusters(4, seed=1)
    narrow = F.normalize(features + 3 * F.normalize(torch.ones(WIDTH), dim=0), dim=-1)
    wide, tight = (SupportSet(f, labels, "").evidence(f, LABELS) for f in (features, narrow))
    assert (tight.argmax(1) == wide.argmax(1)).float().mean() > 0.9
    assert tight.amax(1).mean() == pytest.approx(float(wide.amax(1).mean()), rel=0.5)


def test_one_example_speaks_for_what_is_like_it() -> None:
    one, near, far = F.normalize(torch.tensor([[1.0, 0, 0], [1, 0.2, 0], [0, 1, 0]]), dim=-1)
    evidence = SupportSet(one[None], ("cat",), "").evidence(torch.stack([one, near, far]), ["cat", "dog"])
    assert evidence[0, 0] > evidence[1, 0] > 0 > evidence[2, 0]
    assert evidence.isfinite().all()


def test_kept_in_a_file(tmp_path: Path) -> None:
    shown = SupportSet(*clusters(2, seed=1), "a CLIP")
    back = SupportSet.load(shown.save(tmp_path / "my.segzs-examples.safetensors"))
    assert back.digest == shown.digest
    assert back.counts == dict.fromkeys(LABELS, 2)
    assert [file.name for file in tmp_path.iterdir()] == ["my.segzs-examples.safetensors"]
    with pytest.raises(OutputError, match="cannot be written"):
        shown.save(tmp_path / "absent" / "my.safetensors")


@pytest.mark.parametrize("content", [None, b"", b"no safetensors", "weights"])
def test_a_file_of_something_else_is_refused(content: bytes | str | None, tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    if content == "weights":
        from safetensors.torch import save_file

        save_file({"features": torch.eye(3)}, path)
    elif content is not None:
        path.write_bytes(content)  # type: ignore[arg-type]
    with pytest.raises(AnnotationError, match="is no file that"):
        SupportSet.load(path)


def test_those_of_another_clip_are_refused() -> None:
    ours, others = (SupportSet(torch.eye(3), ("a", "b", "c"), seen_by) for seen_by in ("ours", "others"))
    assert (ours + ours).counts == {"a": 2, "b": 2, "c": 2}
    with pytest.raises(ModelMismatchError, match="seen by another CLIP"):
        ours + others
    with pytest.raises(SegzsError, match="a label for each"):
        SupportSet(torch.eye(3), ("a",), "ours")


# In a segmenter


@pytest.fixture(scope="module")
def named(segmenter: segzs.Segmenter) -> segzs.Segmenter:
    return segmenter.with_labels("laptop, potted plant, red apple")


def test_a_corrected_name_is_an_example_at_once(named: segzs.Segmenter, scene, tmp_path: Path) -> None:
    photo = named.encode(scene("desk").path)
    found = named.segment(photo, [segzs.Prompt.box(258, 45, 502, 258), segzs.Prompt.box(41, 22, 195, 224)])
    wrong = found[1]
    corrected = named.with_example(wrong, "fern", photo=photo)
    assert (wrong.name, corrected.name(found).names) == ("unknown", ["laptop", "fern"])
    assert named.examples is None
    assert named.vocabulary.labels == ("laptop", "potted plant", "red apple")
    assert corrected.segment(photo, segzs.Prompt.box(41, 22, 195, 224)).name == "fern"  # the image stays encoded

    assert corrected.examples is not None
    file = corrected.examples.save(tmp_path / "corrections.safetensors")
    assert named.with_examples(file).name(found).names == ["laptop", "fern"]
    both = corrected.with_example(found[:1], "computer").examples
    assert both is not None
    assert both.counts == {"fern": 1, "computer": 1}
    pooled = segzs.load("tiny", labels="laptop", naming="pooled", cache=False)
    with pytest.raises(ModelMismatchError, match="show them again"):
        pooled.with_examples(file)


def test_pictures_are_examples_too(named: segzs.Segmenter, scene) -> None:
    pixels = segzs.read_image(scene("desk").path).pixels
    plant = pixels[21:224, 18:220]
    assert named.with_examples({"fern": [plant, plant[:, ::-1]]}).classify(plant)[0].label == "fern"
    with pytest.raises(VocabularyError, match="unknown"):
        named.with_example(plant, "unknown")
    for shown in ({}, {"fern": []}, {"cactus": plant, "fern": []}):
        with pytest.raises(SegzsError, match="one example at least"):
            named.with_examples(shown)
    alone = segzs.Segment(scene("desk").masks[0], 1, 1)
    with pytest.raises(segzs.PromptError, match="photo="):
        named.with_example(alone, "fern")
    with pytest.raises(segzs.PromptError, match=r"a segment alone has no pixels; give Segments, as found\[:1\]"):
        named.with_examples({"fern": alone})
    with pytest.raises(VocabularyError, match="words or a sentence are expected"):
        named.with_example(plant, ["fern"])  # type: ignore[arg-type]
    for place in (scene("desk").path.parent, scene("desk").path):
        with pytest.raises(AnnotationError, match=f"{place} is no file that SupportSet.save wrote .*{{'fern': "):
            named.with_examples(place)


def test_an_example_may_stand_alone_and_names_lose_their_spaces(named: segzs.Segmenter, scene, tmp_path: Path) -> None:
    desk = scene("desk")
    photo = named.encode(desk.path)
    found = named.segment(photo, [segzs.Prompt.box(258, 45, 502, 258), segzs.Prompt.box(41, 22, 195, 224)])
    for one, count in ((str(desk.path), 1), (found, 2), (photo.image, 1), (photo.image.pixels, 1)):
        shown = named.with_examples({"  my   fern": one}).examples
        assert shown is not None
        assert shown.counts == {"my fern": count}
    both = named.with_examples({"my fern": found, "my  fern": [photo.image]}).examples
    assert both is not None
    assert both.counts == {"my fern": 3}
    with pytest.raises(segzs.ImageError, match="int"):
        named.with_examples({"fern": 5})
    with pytest.raises(VocabularyError, match="not a label"):
        named.with_examples({5: str(desk.path)})  # type: ignore[dict-item]


def test_every_corrected_name_leaves_unknown_its_chances(named: segzs.Segmenter, scene) -> None:
    photo = named.encode(scene("desk").path)
    (found,) = named.segment(photo, [segzs.Prompt.box(41, 22, 195, 224)])
    once = named.with_example(found, "fern", photo=photo)
    often = once
    for _ in range(5):
        often = often.with_example(found, "fern", photo=photo)
    assert once.classifier.contrast is not None
    assert often.classifier.contrast is not None
    assert len(once.classifier.contrast.words) == len(often.classifier.contrast.words) > 0


def test_only_new_labels_are_encoded_for_an_example(
    segmenter: segzs.Segmenter, scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counting(clip, vocabulary):
        asked.append(vocabulary.labels)
        return encode_labels(clip, vocabulary)

    monkeypatch.setattr(namers, "encode_labels", counting)
    shown = replace(segmenter, cache=EmbeddingCache()).with_examples({"zyzzyva": str(scene("desk").path)})
    assert asked == [("zyzzyva",)]
    assert torch.equal(shown.classifier.label_features[:-1], segmenter.classifier.label_features)
    assert shown.vocabulary.labels[-1] == "zyzzyva"


def test_those_that_were_cropped_otherwise_are_refused(named: segzs.Segmenter, scene) -> None:
    shown = named.with_examples({"fern": str(scene("desk").path)}).examples
    assert shown is not None
    other = replace(named, cropping=replace(named.cropping, background="keep", margin=0.5))
    with pytest.raises(ModelMismatchError, match="with other naming"):
        other.with_examples(shown)
