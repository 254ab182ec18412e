"""Images are preprocessed as by open_clip's own transform."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2

from segzs.clip.crops import Cropping, crops
from segzs.clip.image_features import encode_images, fit, normalize
from segzs.clip.model import ClipModel
from segzs.clip.text_features import general_features
from segzs.image import read_image
from segzs.masks import RLE
from tests.conftest import Scene


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize(
    ("size", "interpolation"),
    [((48, 48), "bicubic"), ((224, 224), "bilinear"), ((96, 160), "bicubic"), ((160, 96), "bicubic")],
    ids=str,
)
def test_a_batch_equals_open_clips_transform(
    size: tuple[int, int], interpolation: str, resize_mode: str, images: list[np.ndarray]
) -> None:
    preprocessing = PreprocessCfg(size=size, interpolation=interpolation, resize_mode=resize_mode, fill_color=128)
    ours = normalize(torch.stack([fit(image, preprocessing) for image in images]), preprocessing)
    transform = image_transform_v2(preprocessing, is_train=False)
    reference = torch.stack([transform(PIL.Image.fromarray(image)) for image in images])
    torch.testing.assert_close(ours, reference, rtol=0, atol=1e-5)


def test_read_only_images_are_not_changed(images: list[np.ndarray]) -> None:
    image = images[0].copy()
    image.setflags(write=False)
    preprocessing = PreprocessCfg(size=(image.shape[0],) * 2)
    fit(image, preprocessing).zero_()
    assert np.array_equal(image, images[0])


@pytest.mark.slow
@pytest.mark.parametrize("background", ["grey", "blur"])
def test_features_of_crops_equal_open_clips(background: str, clip: ClipModel, scene: Callable[[str], Scene]) -> None:
    """The reference is open_clip's transform and encode_image, one crop at a time."""
    transform = image_transform_v2(clip.preprocessing, is_train=False)
    ours, reference = [], []
    for name in ("desk", "picnic", "toolbox"):
        pixels, masks = read_image(scene(name).path).pixels, scene(name).masks
        boxes = [RLE.encode(_filled(mask)) for mask in masks]  # objects with other outlines
        ours.append(encode_images(clip, crops(pixels, [*masks, *boxes], Cropping(background))))
        with torch.inference_mode():
            for image in crops(pixels, [*masks, *boxes], Cropping(background)):
                batch = transform(PIL.Image.fromarray(image))[None]
                reference.append(clip.module.encode_image(batch, normalize=True))
    one, other = torch.cat(ours), torch.cat(reference)
    assert (one * other).sum(1).min() > 0.9999
    names = general_features(clip).T
    assert ((one @ names).argmax(1) == (other @ names).argmax(1)).float().mean() >= 0.99


def _filled(mask: RLE) -> np.ndarray:
    x1, y1, x2, y2 = mask.box
    full = np.zeros((mask.height, mask.width), bool)
    full[y1:y2, x1:x2] = True
    return full
