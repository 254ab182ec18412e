"""Decode prompts on an encoded image into masks, many prompts in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segzs.errors import PromptError
from segzs.masks import RLE, Mask
from segzs.prompts import Prompt
from segzs.sam.encode import EncodedImage, Resize
from segzs.sam.model import SamModel

CHUNK = 4
"""Prompts decoded in one batch. Larger batches fall out of a CPU's cache and cost more per prompt."""
STABILITY_OFFSET = 1.0


@dataclass(frozen=True)
class LowResMasks:
    """Masks on the model's own grid: logits N M h w and predicted IoU N M, for N prompts with M masks each."""

    logits: Tensor
    predicted_iou: Tensor


def decode(
    sam: SamModel, encoded: EncodedImage, prompts: Sequence[Prompt], *, multimask: bool = False
) -> list[tuple[Mask, ...]]:
    """Segment one object for each prompt; the image encoder does not run.

    Args:
        sam: the model that encoded the image.
        encoded: the image.
        prompts: one prompt for each object.
        multimask: return three masks for each prompt, ranked by predicted IoU, instead of the best one.

    Returns:
        For each prompt its masks at the size of the image, best first.

    Raises:
        PromptError: a prompt lies outside the image, or its mask has another model's size.
        ModelMismatchError: another model encoded the image.
    """
    encoded.check_model(sam)
    prompts = [prompt.inside(encoded.image.width, encoded.image.height) for prompt in prompts]
    for prompt in prompts:
        if prompt.mask is not None and prompt.mask.shape != sam.mask_size:
            raise PromptError(
                f"the prompt's mask has shape {prompt.mask.shape}; {sam.spec.name} works on low-res logits of shape "
                f"{sam.mask_size}: give Segment.low_res_logits of a mask of the same model"
            )
    masks: list[tuple[Mask, ...]] = [()] * len(prompts)
    for indices in _batches(prompts):
        low_res = decode_low_res(sam, encoded, [prompts[i] for i in indices])
        for row, index in enumerate(indices):
            chosen = _choose(prompts[index], low_res.predicted_iou[row], multimask)
            masks[index] = full_size(sam, encoded, low_res.logits[row, chosen], low_res.predicted_iou[row, chosen])
    return masks


@torch.inference_mode()
def decode_low_res(sam: SamModel, encoded: EncodedImage, prompts: Sequence[Prompt]) -> LowResMasks:
    """All four masks of each prompt at low resolution.

    The prompts of one call must have the same number of points, and all a box or none, all a mask or none. The first
    mask is the model's answer to an unambiguous prompt, the other three are its answers to an ambiguous one.
    """
    points, boxes, masks = _tensors(sam, encoded, prompts)
    sparse, dense = sam.module.prompt_encoder(points=points, boxes=boxes, masks=masks)
    if dense.stride(0) == 0:  # the same for all prompts, so it is not copied for each of them
        dense = dense[:1]
    logits, predicted_iou = sam.module.mask_decoder.predict_masks(
        image_embeddings=encoded.read_by(sam),
        image_pe=sam.positions,
        sparse_prompt_embeddings=sparse.to(sam.dtype),
        dense_prompt_embeddings=dense.to(sam.dtype),
    )
    return LowResMasks(logits.float(), predicted_iou.float())


@torch.inference_mode()
def full_size(sam: SamModel, encoded: EncodedImage, logits: Tensor, predicted_iou: Tensor) -> tuple[Mask, ...]:
    """Bring low-res logits M h w to the size of the image, as M masks."""
    large = enlarged(logits, sam.module.image_encoder.img_size, encoded)
    threshold = sam.module.mask_threshold
    stability_scores = stability_score(large, threshold).tolist()
    pixels = (large > threshold).cpu().numpy()
    return tuple(
        Mask(RLE.encode(mask), float(score), stability, logit.float().cpu().numpy())
        for mask, score, stability, logit in zip(pixels, predicted_iou, stability_scores, logits, strict=True)
    )


def enlarged(logits: Tensor, side: int, encoded: EncodedImage) -> Tensor:
    """Enlarge low-res logits M h w to the size of the image, through the model's input of ``side`` pixels.

    This is `Sam.postprocess_masks` without the cells that contain only padding. The masks form a batch of one channel,
    because bilinear kernels are slow on three channels.
    """
    height, width = encoded.input_size
    scale = side // logits.shape[-1]
    rows, columns = (min(length // scale + 2, logits.shape[-1]) for length in (height, width))
    visible = logits[:, None, :rows, :columns]
    visible = F.interpolate(visible, (rows * scale, columns * scale), mode="bilinear", align_corners=False)
    size = (encoded.image.height, encoded.image.width)
    return F.interpolate(visible[..., :height, :width], size, mode="bilinear", align_corners=False)[:, 0]


def stability_score(logits: Tensor, threshold: float) -> Tensor:
    """The IoU of each mask of N h w logits cut above the threshold with the same mask cut below it, (N,)."""
    logits = logits.flatten(-2)
    higher = (logits > threshold + STABILITY_OFFSET).sum(-1, dtype=torch.int32)
    lower = (logits > threshold - STABILITY_OFFSET).sum(-1, dtype=torch.int32)
    return higher / lower.clamp(min=1)


def _choose(prompt: Prompt, predicted_iou: Tensor, multimask: bool) -> list[int]:
    """Indices of the masks to return: a single point is ambiguous, any other prompt is not."""
    ranked = (predicted_iou[1:].argsort(descending=True) + 1).tolist()
    if multimask:
        return ranked
    ambiguous = len(prompt.points) == 1 and prompt.box is None and prompt.mask is None
    return ranked[:1] if ambiguous else [0]


def _batches(prompts: Sequence[Prompt]) -> list[list[int]]:
    """Indices of prompts that can share a batch: the same number of points, a box or none, a mask or none."""
    groups: dict[tuple[int, bool, bool], list[int]] = {}
    for index, prompt in enumerate(prompts):
        kind = (len(prompt.points), prompt.box is not None, prompt.mask is not None)
        groups.setdefault(kind, []).append(index)
    return [group[i : i + CHUNK] for group in groups.values() for i in range(0, len(group), CHUNK)]


def _tensors(
    sam: SamModel, encoded: EncodedImage, prompts: Sequence[Prompt]
) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None, Tensor | None]:
    """Points N P 2 with labels N P, boxes N 4 and masks N 1 h w, in pixels of the model's input."""
    resize = Resize(sam.module.image_encoder.img_size)
    size = (encoded.image.height, encoded.image.width)
    points = boxes = masks = None
    if prompts[0].points:
        coordinates = resize.apply_coords(np.array([prompt.points for prompt in prompts], np.float64), size)
        labels = np.array([prompt.positive for prompt in prompts], np.int64)
        points = (_tensor(coordinates, sam), torch.from_numpy(labels).to(sam.device))
    if prompts[0].box is not None:
        boxes = _tensor(resize.apply_boxes(np.array([prompt.box for prompt in prompts], np.float64), size), sam)
    if prompts[0].mask is not None:
        masks = _tensor(np.stack([prompt.mask for prompt in prompts])[:, None], sam)  # type: ignore[misc]
    return points, boxes, masks


def _tensor(array: np.ndarray, sam: SamModel) -> Tensor:
    return torch.from_numpy(array.astype(np.float32)).to(sam.device)
