"""Figures on the way of a training of the tiny SAM: a few fixed scenes and photographs, quickly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from segzs.sam.networks.tiny import unpack
from training.batches import LARGE
from training.evaluate import photos
from training.losses import MASK_STRIDE, hard_iou
from training.packs import UNSEEN_STYLE, Packs, read_picture
from training.prompts import box_around, centre, visible_labels
from training.run import autocast
from training.scenes import MEASURED, Compositor

SIDE = LARGE // MASK_STRIDE


@dataclass(frozen=True)
class Checked:
    """An image with longest side `LARGE`, and its objects: P boxes, P points, P masks as shares of stride-4 cells."""

    kind: str
    pixels: np.ndarray
    boxes: Tensor
    points: Tensor
    target: Tensor


def resize_inputs(sam: nn.Module, size: int) -> None:
    """Let a built tiny SAM take square inputs of another size."""
    sam.image_encoder.img_size = size
    sam.prompt_encoder.input_image_size = (size, size)
    sam.prompt_encoder.image_embedding_size = (size // 16, size // 16)
    sam.prompt_encoder.mask_input_size = (size // 4, size // 4)


def checked_pictures(packs: Packs, scenes: int, photographs: int) -> Iterator[Checked]:
    """Scenes in the unseen style, then photographs of the development pack with at most four objects each."""
    compositor = Compositor(packs, replace(MEASURED, styles=(UNSEEN_STYLE,)), np.random.default_rng(77))
    for _ in range(scenes):
        scene = compositor.scene(LARGE * 3 // 4, LARGE)
        yield _checked("drawn", scene.pixels, [scene.instances == n for n in visible_labels(scene.instances, 400)])
    everyone = [photo for photo in photos(packs, 4) if photo.masks]
    for photo in everyone[:: max(1, len(everyone) // max(photographs, 1))][:photographs]:
        kind = "nuclei" if photo.source == "dsb2018" else "photo"
        yield _checked(kind, read_picture(photo.file, cv2.COLOR_BGR2RGB), [m.decode() for m in photo.masks])


def _checked(kind: str, pixels: np.ndarray, masks: list[np.ndarray]) -> Checked:
    scale = LARGE / max(pixels.shape[:2])
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    boxes = np.array([box_around(mask) for mask in masks]) * scale
    points = np.array([centre(mask) for mask in masks]) * scale + scale / 2
    target = np.zeros((len(masks), LARGE, LARGE), np.float32)
    for row, mask in zip(target, masks, strict=True):
        row[: size[1], : size[0]] = cv2.resize(mask.astype(np.float32), size)
    shares = torch.from_numpy(np.stack([cv2.resize(row, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for row in target]))
    tensors = (torch.from_numpy(each.astype(np.float32)) for each in (boxes, points))
    return Checked(kind, cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), *tensors, shares)


@torch.no_grad()
def check(sam: nn.Module, images: Iterator[Checked], device: torch.device) -> dict[str, float]:
    """Mean IoU of boxes and centre clicks by kind of image, and of cheap masks: the one it chose, and the best."""
    resize_inputs(sam, LARGE)
    scores: dict[str, list[float]] = {}
    for image in images:
        pixels = torch.zeros(1, 3, LARGE, LARGE, device=device)
        height, width = image.pixels.shape[:2]
        visible = torch.from_numpy(image.pixels).permute(2, 0, 1).float().to(device)
        pixels[0, :, :height, :width] = (visible - sam.pixel_mean) / sam.pixel_std
        points, target = image.points.to(device)[:, None], image.target.to(device)
        labels = torch.ones(points.shape[:2], device=device)
        with autocast(device):
            embedding = sam.image_encoder(pixels)
            pe = sam.prompt_encoder.get_dense_pe()
            for kind, prompt in (
                ("click", ((points, labels), None, None)),
                ("box", (None, image.boxes.to(device), None)),
            ):
                logits, ious = sam.mask_decoder.predict_masks(embedding, pe, *sam.prompt_encoder(*prompt))
                chosen = torch.zeros(len(logits), 1) if kind == "box" else 1 + ious[:, 1:].argmax(1, keepdim=True)
                chosen = logits.float()[torch.arange(len(logits)), chosen[:, 0].long()]
                scores.setdefault(f"{image.kind}_{kind}", []).extend(hard_iou(chosen, target).tolist())
        x16, x8, _ = unpack(embedding.float())
        logits, ious = sam.point_head(sam.point_head.prepare(x16, x8), image.points.to(device)[None])
        large = logits[0].repeat_interleave(2, -1).repeat_interleave(2, -2)
        true = hard_iou(large, target[:, None].expand_as(large))
        scores.setdefault(f"{image.kind}_cheap", []).extend(true.gather(1, ious[0].argmax(1)[:, None])[:, 0].tolist())
        scores.setdefault(f"{image.kind}_cheap_best", []).extend(true.amax(1).tolist())
    return {name: float(np.mean(values)) for name, values in scores.items()}
