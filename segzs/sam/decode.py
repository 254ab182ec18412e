"""Decode prompts on an encoded image into masks, many prompts in one call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segzs.errors import PromptError
from segzs.masks import RLE, Mask
from segzs.memory import run_in_parts
from segzs.prompts import Prompt
from segzs.sam.encode import EncodedImage
from segzs.sam.model import SamModel
from segzs.sam.networks.network import LowResMasks, PromptTensors

CHUNK = 4
"""Prompts decoded in one batch on a CPU. Larger batches fall out of its cache and cost more per prompt."""
ACCELERATOR_CHUNK = 64
STABILITY_OFFSET = 1.0


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
    for indices in _batches(prompts, chunk(sam)):
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
    features = encoded.read_by(sam)
    parts = run_in_parts(lambda part: sam.module.decode(features, _tensors(sam, encoded, part)), prompts)
    return parts[0] if len(parts) == 1 else LowResMasks(*map(torch.cat, zip(*parts, strict=True)))


@torch.inference_mode()
def full_size(sam: SamModel, encoded: EncodedImage, logits: Tensor, predicted_iou: Tensor) -> tuple[Mask, ...]:
    """Bring low-res logits M h w to the size of the image, as M masks."""
    parts = run_in_parts(
        lambda part: _full_size(sam, encoded, logits[part.start : part.stop], predicted_iou[part.start : part.stop]),
        range(len(logits)),
    )
    return sum(parts, ())


def _full_size(sam: SamModel, encoded: EncodedImage, logits: Tensor, predicted_iou: Tensor) -> tuple[Mask, ...]:
    large = enlarged(sam, logits, encoded)
    threshold = sam.module.mask_threshold
    stability_scores = stability_score(large, threshold).tolist()
    pixels = (large > threshold).cpu().numpy()
    return tuple(
        Mask(RLE.encode(mask), float(score), stability, logit.float().cpu().numpy())
        for mask, score, stability, logit in zip(pixels, predicted_iou, stability_scores, logits, strict=True)
    )


def enlarged(sam: SamModel, logits: Tensor, encoded: EncodedImage) -> Tensor:
    """Enlarge low-res logits M h w to the size of the image.

    If the input is padded, they are enlarged to its size first, as `Sam.postprocess_masks` does, but without the cells
    that contain only padding. The masks form a batch of one channel, because bilinear kernels are slow on three.
    """
    visible = logits[:, None]
    if sam.module.keeps_aspect:
        height, width = encoded.input_size
        scale = sam.module.side // logits.shape[-1]
        rows, columns = (min(length // scale + 2, logits.shape[-1]) for length in (height, width))
        visible = visible[..., :rows, :columns]
        visible = F.interpolate(visible, (rows * scale, columns * scale), mode="bilinear", align_corners=False)
        visible = visible[..., :height, :width]
    size = (encoded.image.height, encoded.image.width)
    return F.interpolate(visible, size, mode="bilinear", align_corners=False)[:, 0]


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


def chunk(sam: SamModel) -> int:
    """How many prompts to decode in one batch on the device of a model."""
    return CHUNK if sam.device.type == "cpu" else ACCELERATOR_CHUNK


def _batches(prompts: Sequence[Prompt], size: int) -> list[list[int]]:
    """Indices of prompts that can share a batch: the same number of points, a box or none, a mask or none."""
    groups: dict[tuple[int, bool, bool], list[int]] = {}
    for index, prompt in enumerate(prompts):
        kind = (len(prompt.points), prompt.box is not None, prompt.mask is not None)
        groups.setdefault(kind, []).append(index)
    return [group[i : i + size] for group in groups.values() for i in range(0, len(group), size)]


def _tensors(sam: SamModel, encoded: EncodedImage, prompts: Sequence[Prompt]) -> PromptTensors:
    """Prompts of one kind, with their coordinates in pixels of the model's input."""
    scale = np.divide(encoded.input_size[::-1], (encoded.image.width, encoded.image.height))
    points = boxes = masks = None
    if prompts[0].points:
        labels = np.array([prompt.positive for prompt in prompts], np.int64)
        points = (
            _tensor(np.array([prompt.points for prompt in prompts]) * scale, sam),
            torch.from_numpy(labels).to(sam.device),
        )
    if prompts[0].box is not None:
        boxes = _tensor(np.array([prompt.box for prompt in prompts]) * np.tile(scale, 2), sam)
    if prompts[0].mask is not None:
        masks = _tensor(np.stack([prompt.mask for prompt in prompts])[:, None], sam)  # type: ignore[misc]
    return PromptTensors(points, boxes, masks)


def _tensor(array: np.ndarray, sam: SamModel) -> Tensor:
    return torch.from_numpy(array.astype(np.float32)).to(sam.device)
