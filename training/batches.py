"""Batches that the tiny SAM learns from: drawings and photographs of mixed sizes, and prompts on their objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from training.packs import Packs
from training.photos import PADDING, PhotoScenes, photo_cutouts
from training.prompts import PromptSampler, SampledPrompts
from training.scenes import MEASURED, TRAINING, UNLABELLED, Compositor, Scene

SMALL, LARGE = 384, 768
OBJECT_PIXELS = (60, 400)
CLICKS, BOXES, OTHERS = 4, 2, 3
SHARES = (0.24, 0.1, 0.13, 0.53)
"""Of scenes: plain and wild drawings, cut-outs of photographs on backgrounds, photographs."""
MODES = {"points": 0.1, "boxes_with_point": 0.12, "clicks": 0.45, "box_and_click": 0.11, "cheap": 0.22}
"""Kinds of second prompts of a step, with their shares; see `training.sam.Learner`."""
SAMPLED = ("points", "boxes_with_point")

Prompts = dict[str, Tensor]


class SceneMaker(Protocol):
    """What draws one scene after another."""

    def scene(self, height: int, width: int) -> Scene: ...


@dataclass(frozen=True)
class Sources:
    """What scenes are made of."""

    packs: Packs
    drawn: tuple[np.ndarray, ...]
    """Cut-outs of drawings beside the emoji."""
    photographed: tuple[np.ndarray, ...]

    def makers(self, size: int, rng: np.random.Generator) -> tuple[SceneMaker, ...]:
        """Of each of the `SHARES`; in scenes larger than `SMALL`, objects have the pixels that they have in use."""
        plain = replace(MEASURED, size=(0.14, 0.6), restyle=0.2, margin=0.4)
        wild, cut = TRAINING, replace(TRAINING, styles=(), restyle=0.05, shapes=0.05, swarm=0.02, size=(0.1, 0.7))
        pasted = replace(cut, styles=("noto", "fluent3d"), size=(0.08, 0.5), margin=0.4)
        if size > SMALL:
            shares = (OBJECT_PIXELS[0] / size, OBJECT_PIXELS[1] / size)
            plain = replace(plain, size=shares, objects=(3, 8) if size < LARGE else (4, 16), margin=0.35)
            wild = replace(wild, size=(shares[0] / 2, shares[1]))
        return (
            Compositor(self.packs, plain, rng, self.drawn[::4]),
            Compositor(self.packs, wild, rng, self.drawn),
            Compositor(self.packs, cut, rng, self.photographed),
            PhotoScenes(self.packs, Compositor(self.packs, pasted, rng, self.photographed), rng),
        )


def sources(packs: Packs) -> Sources:
    """All that training uses: no folder under GPL-2 or CC BY-SA."""
    things = packs.single_things("trashnet")
    return Sources(packs, packs.single_things("clipart"), things + photo_cutouts(packs))


class SceneBatches(IterableDataset):
    """Endless batches: pixels B 3 S S, instances B S S, and prompts of three kinds as tensors.

    ``sizes`` are the sides S with their shares; every batch holds about as many pixels as ``batch`` scenes of
    `SMALL`. Processes that share a seed draw the same sizes and modes in the same order, and different scenes.
    """

    def __init__(
        self, packs: Packs, sizes: dict[int, float], batch: float, seed: tuple[int, ...], rank: int = 0
    ) -> None:
        self.packs, self.sizes, self.batch, self.seed, self.rank = packs, sizes, batch, seed, rank

    def __iter__(self) -> Iterator[dict]:
        cv2.setNumThreads(0)
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        number = worker.id if worker else 0
        order = np.random.default_rng([*self.seed, number, 0])
        rng = np.random.default_rng([*self.seed, number, 1 + self.rank])
        makers = {size: sources(self.packs).makers(size, rng) for size in self.sizes}
        while True:
            size = int(order.choice(list(self.sizes), p=list(self.sizes.values())))
            mode = str(order.choice(list(MODES), p=list(MODES.values())))
            batch = max(1, round(self.batch * (SMALL / size) ** 2))
            scenes, kinds = [], []
            while len(scenes) < batch:
                scene = _padded(makers[size][rng.choice(len(SHARES), p=SHARES)], size, rng)
                sampler = PromptSampler(scene.instances, rng)
                if not len(sampler.labels):
                    continue
                scenes.append(scene)
                others = getattr(sampler, mode)(OTHERS) if mode in SAMPLED else None
                kinds.append((sampler.clicks(CLICKS), sampler.boxes(BOXES), others))
            clicks, boxes, others = (tuple(column) for column in zip(*kinds, strict=True))
            yield {
                "mode": mode,
                "pixels": torch.from_numpy(np.stack([s.pixels for s in scenes])).permute(0, 3, 1, 2),
                "instances": torch.from_numpy(np.stack([s.instances for s in scenes])),
                "clicks": _stack(clicks),
                "boxes": _stack(boxes),
                "others": _stack(others) if mode in SAMPLED else {},
            }


def _padded(maker: SceneMaker, size: int, rng: np.random.Generator) -> Scene:
    """A scene in a square; two in five are oblong with an empty right or lower part, as SAM pads photographs."""
    oblong = int(size * rng.uniform(0.6, 0.95)) if rng.random() < 0.4 else size
    height, width = (oblong, size) if rng.random() < 0.7 else (size, oblong)
    scene = maker.scene(height, width)
    instances = np.full((size, size), UNLABELLED, np.int16)
    instances[:height, :width] = scene.instances
    pixels = np.full((size, size, 3), PADDING, np.uint8)
    pixels[:height, :width] = scene.pixels
    return Scene(pixels, instances, scene.codes)


def _stack(rows: tuple[SampledPrompts, ...]) -> Prompts:
    fields = ("labels", "points", "positive", "boxes")
    columns = {name: [getattr(row, name) for row in rows] for name in fields}
    return {k: torch.from_numpy(np.stack(v)) for k, v in columns.items() if v[0] is not None}
