"""Encoding: one value for one image, which knows its model, and pictures of any shape."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from segzs.errors import ModelMismatchError
from segzs.image import Image, read_image
from segzs.prompts import Prompt
from segzs.sam.decode import decode
from segzs.sam.encode import encode
from segzs.sam.mask_generator import GeneratorOptions, generate_masks
from segzs.sam.model import SamModel


def drawn(width: int, height: int) -> Image:
    """A picture with a dark rectangle in its middle."""
    pixels = np.full((height, width, 3), 220, np.uint8)
    pixels[height // 4 : height - height // 4, width // 4 : width - width // 4] = (40, 90, 160)
    return read_image(pixels)


def test_it_knows_its_image_and_its_model(tiny: SamModel, desk: Image) -> None:
    encoded = encode(tiny, desk)
    assert encoded.image is desk
    assert (encoded.model, encoded.model_digest) == ("tiny", tiny.digest)
    assert encoded.input_size == (576, 768)
    encoded.check_model(tiny)


def test_it_is_immutable_and_leaves_pixels_alone(tiny: SamModel) -> None:
    pixels = np.array(drawn(60, 40).pixels)
    before = pixels.copy()
    encoded = encode(tiny, read_image(pixels))
    with pytest.raises(FrozenInstanceError):
        encoded.model_digest = "another"  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        encoded.image.pixels[0, 0] = 0
    pixels[:] = 0
    assert np.array_equal(encoded.image.pixels, before)


def test_features_depend_on_pixels_alone(tiny: SamModel, desk: Image, portrait: Image) -> None:
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


def test_the_same_weights_in_another_object_are_welcome(tiny: SamModel, desk: Image) -> None:
    encoded = encode(tiny, desk)
    (answer,) = decode(tiny, encoded, [Prompt.box(10, 10, 200, 200)])
    (again,) = decode(replace(tiny), encoded, [Prompt.box(10, 10, 200, 200)])
    assert answer.rles == again.rles


def test_use_does_not_change_the_model(tiny: SamModel, portrait: Image) -> None:
    before = {key: tensor.clone() for key, tensor in tiny.module.state_dict().items()}
    attributes = set(vars(tiny.module)) | set(vars(tiny.module.image_encoder))
    encoded = encode(tiny, portrait)
    features = encoded.features.clone()
    decode(tiny, encoded, [Prompt.point(5, 5), Prompt.box(0, 0, 50, 50)], multimask=True)
    generate_masks(
        tiny, encoded, GeneratorOptions(points_per_side=2, predicted_iou_threshold=0, stability_score_threshold=0)
    )
    after = tiny.module.state_dict()
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())
    assert set(vars(tiny.module)) | set(vars(tiny.module.image_encoder)) == attributes
    assert torch.equal(encoded.features, features)


@pytest.mark.parametrize(
    ("width", "height"),
    [(1, 1), (1, 300), (300, 2), (3000, 200), (2000, 1), (1, 5000), (769, 767), (768, 768), (40000, 3)],
)
def test_pictures_of_any_shape(width: int, height: int, tiny: SamModel) -> None:
    encoded = encode(tiny, drawn(width, height))
    assert max(encoded.input_size) == 768
    assert min(encoded.input_size) >= 1
    prompts = [
        Prompt.point(width / 2, height / 2),
        Prompt.box(0, 0, width, height),
        Prompt([(0, 0)], [False], (0, 0, width, height)),
    ]
    found = decode(tiny, encoded, prompts)
    found += everything(
        tiny,
        encoded,
        GeneratorOptions(points_per_side=2, predicted_iou_threshold=0, stability_score_threshold=0, min_area=0),
    )
    for masks in found:
        assert masks.rle.decode().shape == (height, width)
        assert 0 <= masks.stability_score <= 1
        assert np.isfinite(masks.predicted_iou).all()


def test_grey_pictures_are_grey_rgb(tiny: SamModel) -> None:
    grey = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    one = encode(tiny, read_image(grey))
    three = encode(tiny, read_image(np.repeat(grey[..., None], 3, axis=2)))
    assert torch.equal(one.features, three.features)
    assert one.image == three.image
