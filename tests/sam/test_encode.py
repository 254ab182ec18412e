"""encode: one immutable value for one image, which knows its model; the cache of it, and its file."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import deepcopy
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segzs.cache import EmbeddingCache
from segzs.checkpoints.locate import locate_sam
from segzs.errors import AnnotationError, ModelMismatchError, OutputError
from segzs.image import Image, read_image
from segzs.masks import iou
from segzs.prompts import Prompt
from segzs.sam import encode as module
from segzs.sam.decode import decode
from segzs.sam.encode import EncodedImage, encode, encode_cached, prepare, report_blocks
from segzs.sam.mask_generator import GeneratorOptions, generate_masks
from segzs.sam.model import SamModel, load_sam
from tests.conftest import EXAMPLES, read_scene


def drawn(width: int, height: int) -> Image:
    """An image with a dark rectangle in its middle."""
    pixels = np.full((height, width, 3), 220, np.uint8)
    pixels[height // 4 : height - height // 4, width // 4 : width - width // 4] = (40, 90, 160)
    return read_image(pixels)


def test_an_encoded_image_knows_its_image_and_its_model(tiny: SamModel, desk: Image) -> None:
    encoded = encode(tiny, desk)
    assert encoded.image is desk
    assert (encoded.model, encoded.model_digest) == ("tiny", tiny.digest)
    assert encoded.input_size == (576, 768)
    encoded.check_model(tiny)


def test_an_encoding_is_cancelled_between_blocks(tiny: SamModel, desk: Image) -> None:
    shares: list[float] = []

    def cancel(share: float) -> None:
        shares.append(share)
        if share > 0.5:
            raise KeyboardInterrupt

    cache = EmbeddingCache()
    with pytest.raises(KeyboardInterrupt), report_blocks(tiny.module, cancel):
        encode_cached(tiny, desk, cache)
    assert 0.5 < shares[-1] < 0.9
    assert torch.isfinite(encode_cached(tiny, desk, cache).features).all()
    assert len(shares) == sum(share <= 0.5 for share in shares) + 1


def test_an_encoded_image_is_immutable(tiny: SamModel) -> None:
    pixels = np.array(drawn(60, 40).pixels)
    before = pixels.copy()
    encoded = encode(tiny, read_image(pixels))
    with pytest.raises(FrozenInstanceError):
        encoded.model_digest = "another"  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        encoded.image.pixels[0, 0] = 0
    pixels[:] = 0
    assert np.array_equal(encoded.image.pixels, before)


def test_features_depend_only_on_the_pixels(tiny: SamModel, desk: Image, portrait: Image) -> None:
    first = encode(tiny, desk).features
    other = encode(tiny, portrait).features
    assert torch.equal(encode(tiny, read_image(np.array(desk.pixels))).features, first)
    assert not torch.equal(other, first)


def test_features_of_another_model_are_refused(tiny: SamModel, other_tiny: SamModel, desk: Image) -> None:
    encoded = encode(other_tiny, desk)
    refusal = r"encoded by tiny \(other\), not by tiny \([0-9a-f]{12}\)"
    with pytest.raises(ModelMismatchError, match=refusal):
        decode(tiny, encoded, [Prompt.point(10, 10)])
    with pytest.raises(ModelMismatchError, match=refusal):
        generate_masks(tiny, encoded)


def test_features_of_the_same_weights_in_another_object_are_accepted(tiny: SamModel, desk: Image) -> None:
    encoded = encode(tiny, desk)
    ((one,),) = decode(tiny, encoded, [Prompt.box(10, 10, 200, 200)])
    ((other,),) = decode(replace(tiny), encoded, [Prompt.box(10, 10, 200, 200)])
    assert one.rle == other.rle


def test_encoding_and_decoding_do_not_change_the_model(tiny: SamModel, portrait: Image) -> None:
    before = {key: tensor.clone() for key, tensor in tiny.module.state_dict().items()}
    attributes = set(vars(tiny.module)) | set(vars(tiny.module.image_encoder))
    encoded = encode(tiny, portrait)
    features = encoded.features.clone()
    decode(tiny, encoded, [Prompt.point(5, 5), Prompt.box(0, 0, 50, 50)], multimask=True)
    generate_masks(tiny, encoded, GeneratorOptions(2, predicted_iou_threshold=0, stability_score_threshold=0))
    after = tiny.module.state_dict()
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())
    assert set(vars(tiny.module)) | set(vars(tiny.module.image_encoder)) == attributes
    assert torch.equal(encoded.features, features)


@pytest.mark.parametrize(
    ("width", "height"),
    [(1, 1), (1, 300), (300, 2), (3000, 200), (2000, 1), (1, 5000), (769, 767), (768, 768), (40000, 3)],
)
def test_images_of_any_shape_are_segmented(width: int, height: int, tiny: SamModel) -> None:
    encoded = encode(tiny, drawn(width, height))
    assert max(encoded.input_size) == 768
    assert min(encoded.input_size) >= 1
    prompts = [
        Prompt.point(width / 2, height / 2),
        Prompt.box(0, 0, width, height),
        Prompt([(0, 0)], [False], (0, 0, width, height)),
    ]
    options = GeneratorOptions(2, predicted_iou_threshold=0, stability_score_threshold=0, min_area=0)
    masks = [mask for (mask,) in decode(tiny, encoded, prompts)] + generate_masks(tiny, encoded, options)
    for mask in masks:
        assert mask.rle.decode().shape == (height, width)
        assert 0 <= mask.stability_score <= 1
        assert np.isfinite(mask.predicted_iou)


def test_a_grey_image_is_encoded_as_grey_rgb(tiny: SamModel) -> None:
    grey = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    one = encode(tiny, read_image(grey))
    three = encode(tiny, read_image(np.repeat(grey[..., None], 3, axis=2)))
    assert torch.equal(one.features, three.features)
    assert one.image == three.image


# Pickle, deepcopy and files


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("copied", [pickled, deepcopy])
def test_a_copy_is_as_immutable_as_the_original(copied: Callable[[Any], Any], tiny: SamModel, portrait: Image) -> None:
    encoded = encode(tiny, portrait)
    encoded.read_by(replace(tiny, dtype=torch.bfloat16))
    copy = copied(encoded)
    assert torch.equal(copy.features, encoded.features)
    assert (copy.image, copy.input_size, copy.model_digest) == (portrait, encoded.input_size, tiny.digest)
    assert not copy.image.pixels.flags.writeable
    with pytest.raises(RuntimeError, match=r"[Ii]nference"):
        copy.features.zero_()
    assert not copied(prepare(tiny, portrait)).resized.flags.writeable


def test_a_saved_image_is_read_as_the_same_value(tiny: SamModel, portrait: Image, tmp_path: Path) -> None:
    encoded = encode(tiny, portrait)
    path = encoded.save(tmp_path / "portrait.safetensors")
    loaded = EncodedImage.load(path)
    assert loaded.image == portrait
    assert torch.equal(loaded.features, encoded.features)
    assert (loaded.input_size, loaded.model, loaded.model_digest) == (encoded.input_size, "tiny", tiny.digest)
    prompt = Prompt.box(10, 10, 200, 200)
    assert decode(tiny, loaded, [prompt])[0][0].rle == decode(tiny, encoded, [prompt])[0][0].rle
    with pytest.raises(RuntimeError, match=r"[Ii]nference"):
        loaded.features.zero_()


def test_only_files_of_encoded_images_are_loaded(tiny: SamModel, portrait: Image, tmp_path: Path) -> None:
    path = encode(tiny, portrait).save(tmp_path / "portrait.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    for wrong in (path, tmp_path / "absent", tmp_path, locate_sam("tiny").path, EXAMPLES / "desk.png"):
        with pytest.raises(AnnotationError, match="is not an encoded image"):
            EncodedImage.load(wrong)
    with pytest.raises(OutputError, match="cannot be written"):
        encode(tiny, portrait).save(tmp_path / "portrait.safetensors" / "in a file")


# The cache


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digests of the images that the encoder ran on, in order."""
    digests: list[str] = []

    def counting(sam: SamModel, image: Image) -> torch.Tensor:
        digests.append(image.digest)
        return features(sam, image)

    features = module._features
    monkeypatch.setattr(module, "_features", counting)
    return digests


def flat(value: int) -> Image:
    return read_image(np.full((40, 60, 3), value, np.uint8))


def test_an_image_is_encoded_once(tiny: SamModel, desk: Image, tmp_path: Path, computed: list[str]) -> None:
    cache = EmbeddingCache(tmp_path)
    first, again = encode_cached(tiny, desk, cache), encode_cached(tiny, read_image(EXAMPLES / "desk.png"), cache)
    tomorrow = encode_cached(tiny, desk, EmbeddingCache(tmp_path))
    assert computed == [desk.digest]
    assert torch.equal(first.features, again.features)
    assert torch.equal(first.features, tomorrow.features)
    assert torch.equal(first.features, encode(tiny, desk).features.half().float())
    assert (tomorrow.input_size, tomorrow.model_digest) == (first.input_size, first.model_digest)


def test_masks_from_the_cache_are_those_of_the_encoder(tiny: SamModel, desk: Image, tmp_path: Path) -> None:
    encode_cached(tiny, desk, EmbeddingCache(tmp_path))
    prompts = [Prompt.box(*mask.box) for mask in read_scene("desk").masks]
    both = (encode(tiny, desk), encode_cached(tiny, desk, EmbeddingCache(tmp_path)))
    fresh, stored = (decode(tiny, encoded, prompts) for encoded in both)
    assert min(iou([a.rle], [b.rle])[0, 0] for (a,), (b,) in zip(fresh, stored, strict=True)) >= 0.99


def test_other_pixels_and_other_weights_are_other_entries(
    tiny: SamModel, other_tiny: SamModel, tmp_path: Path, computed: list[str]
) -> None:
    cache = EmbeddingCache(tmp_path)
    for sam, image in ((tiny, flat(0)), (tiny, flat(1)), (other_tiny, flat(0)), (tiny, flat(0))):
        assert encode_cached(sam, image, cache).model_digest == sam.digest
    assert len(computed) == 3


@pytest.mark.slow
def test_another_preprocessing_and_another_dtype_are_other_entries(
    tiny: SamModel, tmp_path: Path, computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_cached(tiny, flat(0), EmbeddingCache(tmp_path))
    encode_cached(load_sam(locate_sam("tiny"), dtype=torch.bfloat16), flat(0), EmbeddingCache(tmp_path))
    monkeypatch.setattr(module, "PREPROCESSING", -1)
    encode_cached(tiny, flat(0), EmbeddingCache(tmp_path))
    assert len(computed) == 3


def test_features_beyond_float16_stay_float32(tiny: SamModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = encode(tiny, flat(0)).features * 1e9
    monkeypatch.setattr(module, "_features", lambda *_: huge)
    for _ in ("computed", "read"):
        assert torch.equal(encode_cached(tiny, flat(0), EmbeddingCache(tmp_path)).features, huge)


def test_the_value_names_the_model_that_was_given(tiny: SamModel, tmp_path: Path) -> None:
    """Two rows of the registry may have the same weights."""
    cache = EmbeddingCache(tmp_path)
    encode_cached(tiny, flat(0), cache)
    renamed = replace(tiny, spec=replace(tiny.spec, name="mine"))
    assert encode_cached(renamed, flat(0), cache).model == "mine"
