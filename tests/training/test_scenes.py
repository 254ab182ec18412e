import numpy as np
import pytest

from training.packs import Packs
from training.prompts import PromptSampler, box_around, centre, visible_labels
from training.scenes import MEASURED, TRAINING, Compositor, Recipe


@pytest.mark.parametrize("recipe", [TRAINING, MEASURED])
@pytest.mark.parametrize(("height", "width"), [(320, 320), (192, 256)])
def test_a_scene_is_whole_and_repeatable(drawn_packs: Packs, recipe: Recipe, height: int, width: int) -> None:
    first, second = (Compositor(drawn_packs, recipe, np.random.default_rng(5)).scene(height, width) for _ in range(2))
    assert first.pixels.shape == (height, width, 3)
    assert first.pixels.dtype == np.uint8
    assert first.instances.shape == (height, width)
    assert first.instances.max() <= len(first.codes)
    assert np.array_equal(first.pixels, second.pixels)
    assert np.array_equal(first.instances, second.instances)


def test_masks_cover_what_was_drawn(drawn_packs: Packs) -> None:
    """On the measured recipe nothing but objects changes the background, so masks and changes must agree."""
    scene = Compositor(drawn_packs, MEASURED, np.random.default_rng(3)).scene(288, 384)
    for index in range(len(scene.codes)):
        mask = scene.mask(index)
        if mask.sum() > 400:
            inside = scene.pixels[mask].astype(int)
            assert (inside[:, 1] > 150).mean() > 0.9  # the drawn shapes are all green enough


def test_measured_objects_have_the_stated_sizes(drawn_packs: Packs) -> None:
    compositor = Compositor(drawn_packs, MEASURED, np.random.default_rng(0))
    for _ in range(20):
        scene = compositor.scene(576, 768)
        assert 4 <= len(scene.codes) <= 9
        for label in visible_labels(scene.instances, 400):
            x1, y1, x2, y2 = box_around(scene.instances == label)
            assert max(x2 - x1, y2 - y1) <= 0.42 * 576 * np.sqrt(2) + 4


def test_centre_is_inside_even_of_a_ring() -> None:
    y, x = np.mgrid[:100, :120]
    distance = np.hypot(x - 60, y - 50)
    ring = (distance < 40) & (distance > 25)
    assert ring[centre(ring)[::-1]]
    assert box_around(ring).tolist() == [21, 11, 100, 90]


def test_prompts_ask_for_what_their_labels_say(drawn_packs: Packs) -> None:
    scene = Compositor(drawn_packs, TRAINING, np.random.default_rng(8)).scene(320, 320)
    sampler = PromptSampler(scene.instances, np.random.default_rng(0))
    for prompts in (sampler.clicks(30), sampler.points(30), sampler.boxes_with_point(30)):
        assert prompts.points is not None
        assert prompts.positive is not None
        for label, points, signs in zip(prompts.labels, prompts.points, prompts.positive, strict=True):
            for (x, y), positive in zip(points, signs, strict=True):
                hit = scene.instances[int(y), int(x)] == label
                assert hit or not positive
    boxes = sampler.boxes(30)
    assert boxes.boxes is not None
    for label, box in zip(boxes.labels, boxes.boxes, strict=True):
        true = box_around(scene.instances == label)
        assert np.abs(box - true).max() <= 0.1 * max(true[2] - true[0], true[3] - true[1]) + 1


def test_half_hidden_objects_are_prompted_more_often() -> None:
    instances = np.zeros((64, 64), np.int16)
    instances[4:24, 4:24] = 1
    instances[30:50, 4:24] = 2
    instances[30:50, 14:34] = 3  # lies on the second
    sampler = PromptSampler(instances, np.random.default_rng(0))
    given = np.bincount([int(sampler.boxes(1).labels[0]) for _ in range(600)], minlength=4)
    assert given[2] > 1.5 * given[1]
    assert min(given[1:]) > 60
