"""Batches that the tiny SAM learns from: scenes of mixed sizes, and prompts on their objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from training.packs import Packs
from training.prompts import PromptSampler, SampledPrompts
from training.scenes import MEASURED, TRAINING, Compositor, Scene

SMALL, LARGE = 320, 768
OBJECT_PIXELS = (60, 260)
CLICKS, BOXES, OTHERS = 4, 2, 2

Prompts = dict[str, Tensor]


class SceneBatches(IterableDataset):
    """Endless batches: pixels B 3 S S, instances B S S, and prompts of three kinds as tensors.

    ``sizes`` are the sides S with their shares; every batch holds about as many pixels as ``batch`` scenes of the
    smallest. Processes that share a seed draw the same sizes in the same order, and different scenes.
    """

    def __init__(self, packs: Packs, sizes: dict[int, float], batch: int, seed: tuple[int, ...], rank: int = 0) -> None:
        self.packs, self.sizes, self.batch, self.seed, self.rank = packs, sizes, batch, seed, rank

    def __iter__(self) -> Iterator[dict]:
        cv2.setNumThreads(0)
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        number = worker.id if worker else 0
        order = np.random.default_rng([*self.seed, number, 0])
        rng = np.random.default_rng([*self.seed, number, 1 + self.rank])
        compositors = {size: self._compositors(size, rng) for size in self.sizes}
        smallest = min(self.sizes)
        index_of = {concept.code: index for index, concept in enumerate(self.packs.concepts())}
        while True:
            size = int(order.choice(list(self.sizes), p=list(self.sizes.values())))
            batch = max(2, round(self.batch * (smallest / size) ** 2))
            other = ("points", "boxes_with_point", "refine")[order.choice(3, p=[0.35, 0.2, 0.45])]
            scenes, kinds = [], []
            while len(scenes) < batch:
                scene = _padded(compositors[size][int(rng.random() < 0.25)], size, rng)
                sampler = PromptSampler(scene.instances, rng)
                if not len(sampler.labels):
                    continue
                scenes.append(scene)
                others = getattr(sampler, other)(OTHERS) if other != "refine" else None
                kinds.append((sampler.clicks(CLICKS), sampler.boxes(BOXES), others))
            clicks, boxes, others = (tuple(column) for column in zip(*kinds, strict=True))
            yield {
                "pixels": torch.from_numpy(np.stack([s.pixels for s in scenes])).permute(0, 3, 1, 2),
                "instances": torch.from_numpy(np.stack([s.instances for s in scenes])),
                "concepts": _concepts(scenes, index_of),
                "clicks": _stack(clicks),
                "boxes": _stack(boxes),
                "others": _stack(others) if other != "refine" else {},
            }

    def _compositors(self, size: int, rng: np.random.Generator) -> tuple[Compositor, Compositor]:
        """Plain and wild scenes; in those larger than ``SMALL``, objects have the pixels that they have in use."""
        plain, wild = replace(MEASURED, size=(0.14, 0.6), restyle=0.2, margin=0.4), TRAINING
        if size > SMALL:
            shares = (OBJECT_PIXELS[0] / size, OBJECT_PIXELS[1] / size)
            plain = replace(plain, size=shares, objects=(3, 8) if size < LARGE else (4, 16), margin=0.35)
            wild = replace(wild, size=(shares[0] / 2, shares[1]))
        return Compositor(self.packs, plain, rng), Compositor(self.packs, wild, rng)


def _padded(compositor: Compositor, size: int, rng: np.random.Generator) -> Scene:
    """A scene in a square; one in four is oblong with an empty right or lower part, as SAM pads photographs."""
    oblong = int(size * rng.uniform(0.6, 0.95)) if rng.random() < 0.25 else size
    height, width = (oblong, size) if rng.random() < 0.7 else (size, oblong)
    scene = compositor.scene(height, width)
    instances = np.zeros((size, size), np.int16)
    instances[:height, :width] = scene.instances
    pixels = np.empty((size, size, 3), np.uint8)
    pixels[:] = np.array([124, 116, 104], np.uint8)
    pixels[:height, :width] = scene.pixels
    return Scene(pixels, instances, scene.codes)


def _concepts(scenes: list[Scene], index_of: dict[str, int]) -> Tensor:
    """The concept of each label of each scene, B L; -1 for the background and for shapes without a name."""
    rows = torch.full((len(scenes), 1 + max(len(scene.codes) for scene in scenes)), -1)
    for row, scene in zip(rows, scenes, strict=True):
        for label, code in enumerate(scene.codes, start=1):
            row[label] = index_of.get(code or "", -1)
    return rows


def _stack(rows: tuple[SampledPrompts, ...]) -> Prompts:
    fields = ("labels", "points", "positive", "boxes")
    columns = {name: [getattr(row, name) for row in rows] for name in fields}
    return {k: torch.from_numpy(np.stack(v)) for k, v in columns.items() if v[0] is not None}
