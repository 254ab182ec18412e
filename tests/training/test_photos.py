"""Photographs as scenes: what is outlined stays outlined, and the rest is neither object nor background."""

import numpy as np
import torch

from training.batches import SHARES, sources
from training.losses import ELSEWHERE, SEEDS, seeds
from training.packs import Packs
from training.photos import photo_cutouts, photos
from training.prompts import PromptSampler
from training.scenes import UNLABELLED


def test_photographs_know_what_nobody_outlined(drawn_packs: Packs) -> None:
    result = photos(drawn_packs)
    assert len(result) == 4
    for photo in result:
        assert set(np.unique(photo.instances)) == {UNLABELLED, 1}
        assert photo.pixels[photo.instances == 1].mean(0).round().tolist() == [240, 220, 40]


def test_whole_objects_are_cut_out_with_their_outline(drawn_packs: Packs) -> None:
    cutouts = photo_cutouts(drawn_packs)
    assert len(cutouts) == 2  # those of a source with usable outlines
    for cutout in cutouts:
        assert abs((cutout[..., 3] > 127).sum() - np.pi * 35**2) < 150


def test_scenes_of_photographs_follow_the_image(drawn_packs: Packs) -> None:
    makers = sources(drawn_packs).makers(128, np.random.default_rng(1))
    assert len(makers) == len(SHARES)
    photographs = makers[-1]
    photographs.pasted = 0
    bright, seen = [], 0
    for _ in range(20):
        scene = photographs.scene(128, 128)
        assert scene.pixels.shape == (128, 128, 3)
        assert set(np.unique(scene.instances)) <= {UNLABELLED, 1}
        inside, outside = scene.instances == 1, scene.instances != 1
        if inside.sum() > 200 and outside.sum() > 200:
            contrast = scene.pixels[inside].max(1).mean() - scene.pixels[outside].max(1).mean()
            bright.append(contrast > 20)
            seen += 1
    assert seen > 5
    assert np.mean(bright) > 0.8


def test_nobody_clicks_on_what_nobody_outlined() -> None:
    instances = np.full((64, 64), UNLABELLED, np.int16)
    instances[20:40, 20:40] = 1
    labels = PromptSampler(instances, np.random.default_rng(0)).clicks(50, background=1.0).labels
    assert (labels == 1).all()


def test_seeds_lie_on_objects_and_on_certain_background() -> None:
    instances = torch.zeros(2, 64, 64, dtype=torch.int16)
    instances[0, :8, :8], instances[0, 40:, 40:] = 1, 2
    instances[1] = UNLABELLED
    instances[1, 30:50, 30:50] = 1
    torch.manual_seed(0)
    points, labels, target = seeds(instances)
    assert points.shape == (2, SEEDS + ELSEWHERE, 2)
    assert (labels[:, :SEEDS] > 0).all()
    assert (labels[0, SEEDS:] == 0).all()
    assert (labels[0, :SEEDS] == 1).float().mean() > 0.2  # as often as the large one, nearly
    x, y = points.long().unbind(-1)
    assert torch.equal(instances[torch.arange(2)[:, None], y, x].long(), labels)
    assert torch.equal(target[0, labels[0] == 1].sum((-2, -1)).unique(), torch.tensor([1.0]))
