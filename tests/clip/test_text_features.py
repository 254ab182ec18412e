"""Text features equal open_clip's, and the general vocabulary's are stored."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from safetensors import safe_open

import segzs
from segzs.cache import EmbeddingCache
from segzs.checkpoints.locate import locate_clip
from segzs.checkpoints.registry import CLIPS
from segzs.clip.labels import Label
from segzs.clip.model import ClipModel, load_clip
from segzs.clip.text_features import (
    encode_texts,
    encode_vocabulary,
    general_features,
    general_vocabulary,
    unseen_labels,
    with_templates,
)
from segzs.clip.vocabulary import Vocabulary
from segzs.errors import VocabularyError
from segzs.settings import embedded_folder
from tests.clip.conftest import SIGLIP_LIKE, random_clip


@pytest.mark.slow
def test_features_equal_open_clips_zero_shot_classifier(clip: ClipModel) -> None:
    labels = [f"thing {number}" for number in range(100)]  # more texts than a batch
    vocabulary = Vocabulary(labels, "simple")
    reference = open_clip.build_zero_shot_classifier(clip.module, clip.tokenizer, labels, vocabulary.templates).T
    ours = encode_vocabulary(clip, vocabulary)
    torch.testing.assert_close(ours, reference, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.norm(dim=1), torch.ones(100))


def test_braces_in_labels_are_plain_text(clip: ClipModel) -> None:
    labels = ["a {} b", "{0}", "{name}", "50% {", "{{}}"]
    features = encode_vocabulary(clip, Vocabulary(labels, "a photo of a {}"))
    with torch.inference_mode():
        texts = clip.tokenizer([f"a photo of a {label}" for label in labels])
        reference = clip.module.encode_text(texts, normalize=True)
    torch.testing.assert_close(features, reference, rtol=0, atol=1e-5)


def test_name_synonyms_and_descriptions_count_alike(clip: ClipModel) -> None:
    templates = ("{}", "a photo of a {}")
    features = encode_vocabulary(
        clip, Vocabulary([Label("cat", ("kitten",), ("an animal with whiskers.",)), "dog"], templates)
    )
    texts = encode_texts(clip, ["cat", "a photo of a cat", "kitten", "a photo of a kitten", "an animal with whiskers."])
    cat, kitten = (torch.nn.functional.normalize(texts[i : i + 2].mean(0), dim=0) for i in (0, 2))
    expected = torch.nn.functional.normalize(torch.stack([cat, kitten, texts[4]]).mean(0), dim=0)
    torch.testing.assert_close(features[0], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(features[1:], encode_vocabulary(clip, Vocabulary(["dog"], templates)))


def test_without_templates_those_of_the_clip_are_used(clip: ClipModel) -> None:
    bare, explicit = Vocabulary(["cat"]), Vocabulary(["cat"], CLIPS["tiny"].templates)
    assert with_templates(clip, bare) == explicit
    assert with_templates(clip, Vocabulary(["cat"], "one {}")).templates == ("one {}",)
    assert torch.equal(encode_vocabulary(clip, bare), encode_vocabulary(clip, explicit))


@pytest.mark.parametrize("kind", ["tiny", "siglip"])
def test_sentences_that_the_tokenizer_would_cut_are_refused(kind: str, clip: ClipModel, tmp_path: Path) -> None:
    if kind == "siglip":
        clip = load_clip(locate_clip(random_clip(tmp_path / "clip", SIGLIP_LIKE)))
    length = clip.tokenizer(["cat"]).shape[1]
    longest = " ".join(["cat"] * (length - 2))
    assert encode_vocabulary(clip, Vocabulary([longest], "{}")).shape[0] == 1
    with pytest.raises(VocabularyError, match=rf"'cat .*' has more than the {length} tokens that .* reads"):
        encode_vocabulary(clip, Vocabulary([f"{longest} cat"], "{}"))


def test_labels_with_unseen_words_are_listed(clip: ClipModel, tmp_path: Path) -> None:
    assert clip.known_tokens is not None
    token = next(token for token in range(1000, 49000) if token not in clip.known_tokens)
    unseen = f"blue {clip.tokenizer.decode([token]).strip()}"
    vocabulary = Vocabulary(["red apple", unseen, "Laptop"])
    assert unseen_labels(clip, vocabulary) == [unseen]
    assert unseen_labels(load_clip(locate_clip(random_clip(tmp_path / "clip"))), vocabulary) == []


def test_stored_general_features_are_those_of_the_weights(clip: ClipModel) -> None:
    """They are stored in float16. With other weights or labels they would be computed again, which takes seconds."""
    vocabulary = general_vocabulary(clip)
    with safe_open(embedded_folder() / "tiny_labels.safetensors", "pt") as file:
        assert file.metadata() == {"weights": clip.digest, "vocabulary": vocabulary.digest}
    fresh = encode_vocabulary(clip, Vocabulary(vocabulary.labels[::40], vocabulary.templates))
    torch.testing.assert_close(general_features(clip)[::40], fresh, rtol=0, atol=1e-3)
    assert len(general_features(clip)) == len(vocabulary.labels) > 1000


def test_every_clip_has_a_general_vocabulary(clip: ClipModel, tmp_path: Path) -> None:
    tiny = general_vocabulary(clip)
    assert tiny.templates == CLIPS["tiny"].templates
    assert {"laptop", "hammer", "red apple"} <= set(tiny.labels)
    assert unseen_labels(clip, tiny) == []
    everyday = general_vocabulary(load_clip(locate_clip(random_clip(tmp_path / "clip"))))
    assert everyday.templates == ("a photo of a {}",)
    assert everyday.labels == Vocabulary.everyday().labels


def test_features_are_cached_and_long_vocabularies_on_disk(clip: ClipModel, tmp_path: Path) -> None:
    long, short = Vocabulary([f"thing {number}" for number in range(300)], "{}"), Vocabulary(["cat"], "{}")
    for vocabulary, files in ((short, 0), (long, 1)):
        first = encode_vocabulary(clip, vocabulary, EmbeddingCache(tmp_path))
        assert len(list(tmp_path.glob("*.safetensors"))) == files
        assert torch.equal(first, encode_vocabulary(clip, vocabulary, EmbeddingCache(tmp_path)))
        assert torch.equal(first, encode_vocabulary(clip, vocabulary))


def test_a_segmenter_without_labels_uses_the_general_features(segmenter: segzs.Segmenter) -> None:
    assert segmenter.vocabulary == general_vocabulary(segmenter.clip)
    assert segmenter.classifier.text_features is general_features(segmenter.clip)
