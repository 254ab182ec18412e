"""Prompts on an encoded image -> masks, many prompts in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segzs.errors import PromptError
from segzs.masks import RLE, Masks
from segzs.prompts import Prompt
from segzs.sam.encode import EncodedImage, Resize
from segzs.sam.model import SamModel

CHUNK = 4
"""Prompts decoded at once: what more of them need falls out of a CPU's cache, and each costs more."""
STABILITY_OFFSET = 1.0


@dataclass(frozen=True)
class LowRes:
    """Answers on the model's own grid: logits N M h w and predicted IoU N M, for N prompts with M masks each."""

    logits: Tensor
    predicted_iou: Tensor


def decode(sam: SamModel, encoded: EncodedImage, prompts: Sequence[Prompt], *, several: bool = False) -> list[Masks]:
    """Segment one object a prompt; the image encoder does not run.

    Args:
        sam: the model that encoded the image.
        encoded: the image.
        prompts: each asks for one object.
        several: give three masks a prompt, ranked by predicted IoU, instead of the best one.

    Returns:
        For each prompt its masks at the size of the image, best first.

    Raises:
        PromptError: a prompt lies outside the image, or its mask is of another model's size.
        ModelMismatchError: another model encoded the image.
    """
    encoded.check_model(sam)
    prompts = [prompt.inside(encoded.image.width, encoded.image.height) for prompt in prompts]
    for prompt in prompts:
        if prompt.mask is not None and prompt.mask.shape != sam.mask_size:
            raise PromptError(
                f"the prompt's mask has shape {prompt.mask.shape}; {sam.spec.name} works on low-res logits of shape "
                f"{sam.mask_size}: give Segment.low_res_logits of an answer of the same model"
            )
    answers: list[Masks | None] = [None] * len(prompts)
    for indices in _batches(prompts):
        low_res = decode_low_res(sam, encoded, [prompts[i] for i in indices])
        for row, index in enumerate(indices):
            chosen = _choose(prompts[index], low_res.predicted_iou[row], several)
            answers[index] = full_size(sam, encoded, low_res.logits[row, chosen], low_res.predicted_iou[row, chosen])
    return [answer for answer in answers if answer is not None]


@torch.inference_mode()
def decode_low_res(sam: SamModel, encoded: EncodedImage, prompts: Sequence[Prompt]) -> LowRes:
    """All four masks of each prompt at low resolution; the prompts must be alike: as many points, box or none.

    The first mask is SAM's answer to clear prompts, the other three are its guesses at ambiguous ones.
    """
    points, boxes, masks = _tensors(sam, encoded, prompts)
    sparse, dense = sam.module.prompt_encoder(points=points, boxes=boxes, masks=masks)
    if dense.stride(0) == 0:  # the same for all prompts: it need not be copied for each
        dense = dense[:1]
    logits, predicted_iou = sam.module.mask_decoder.predict_masks(
        image_embeddings=encoded.read_by(sam),
        image_pe=sam.positions,
        sparse_prompt_embeddings=sparse.to(sam.dtype),
        dense_prompt_embeddings=dense.to(sam.dtype),
    )
    return LowRes(logits.float(), predicted_iou.float())


@torch.inference_mode()
def full_size(sam: SamModel, encoded: EncodedImage, logits: Tensor, predicted_iou: Tensor) -> Masks:
    """Bring low-res logits M h w to the size of the image, as `Masks`."""
    large = enlarged(logits, sam.module.image_encoder.img_size, encoded)
    threshold = sam.module.mask_threshold
    stability = stability_score(large, threshold)
    rles = tuple(RLE.encode(mask) for mask in (large > threshold).cpu().numpy())
    return Masks(rles, _readonly(predicted_iou), _readonly(stability), _readonly(logits))


def enlarged(logits: Tensor, side: int, encoded: EncodedImage) -> Tensor:
    """Low-res logits M h w at the size of the image, by way of the model's input of ``side`` pixels, without padding.

    `Sam.postprocess_masks`, but for cells that show only padding; masks go as a batch, as bilinear kernels are slow on
    three channels.
    """
    height, width = encoded.input_size
    scale = side // logits.shape[-1]
    rows, columns = (min(length // scale + 2, logits.shape[-1]) for length in (height, width))
    visible = logits[:, None, :rows, :columns]
    visible = F.interpolate(visible, (rows * scale, columns * scale), mode="bilinear", align_corners=False)
    size = (encoded.image.height, encoded.image.width)
    return F.interpolate(visible[..., :height, :width], size, mode="bilinear", align_corners=False)[:, 0]


def stability_score(logits: Tensor, threshold: float) -> Tensor:
    """How little masks N h w depend on the threshold: the IoU of each, cut higher, with itself cut lower."""
    logits = logits.flatten(-2)
    higher = (logits > threshold + STABILITY_OFFSET).sum(-1, dtype=torch.int32)
    lower = (logits > threshold - STABILITY_OFFSET).sum(-1, dtype=torch.int32)
    return higher / lower.clamp(min=1)


def _choose(prompt: Prompt, predicted_iou: Tensor, several: bool) -> list[int]:
    """Which of the four masks answer a prompt: a lone point is ambiguous, all else is clear."""
    ranked = (predicted_iou[1:].argsort(descending=True) + 1).tolist()
    if several:
        return ranked
    ambiguous = len(prompt.points) == 1 and prompt.box is None and prompt.mask is None
    return ranked[:1] if ambiguous else [0]


def _batches(prompts: Sequence[Prompt]) -> list[list[int]]:
    """Indices of prompts that can share a batch: as many points, box or none, mask or none."""
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


def _readonly(tensor: Tensor) -> np.ndarray:
    array = tensor.float().cpu().numpy().copy()
    array.setflags(write=False)
    return array
