"""What the tiny SAM learns from a batch: its prompts, prompts that follow from its own answers, and the loss."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from segzs.evaluate.clicks import next_click
from segzs.sam.networks.tiny import SkipMaskDecoder, build_tiny_sam, likeness, unpack, voted
from training.batches import BOXES, CLICKS, SAMPLED, SMALL, Prompts
from training.checks import resize_inputs
from training.losses import MASK_STRIDE, hard_iou, point_loss, prompt_loss, seeds, soft_masks

ROUNDS = (0.4, 0.22, 0.16, 0.22)
"""Shares of one to four corrective clicks; the last is at last what is learnt from."""
SECOND_WEIGHT, POINT_WEIGHT = 0.7, 0.7


class PredictMasks(nn.Module):
    """A mask decoder whose call is ``predict_masks``, so that it can be called with half-precision weights."""

    def __init__(self, decoder: SkipMaskDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        return self.decoder.predict_masks(*parts)


class Learner(nn.Module):
    """The tiny SAM: one batch in, one loss out.

    A step has two decodings: clicks and boxes, then one of the `MODES`: sampled points, a box with a point, further
    clicks where the answer is wrong, a box with such a click, or a click with the cheap mask of `PointHead`.
    """

    def __init__(self, precision: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.precision = precision
        self.sam = build_tiny_sam(SMALL)

    def forward(self, batch: dict, points_alone: bool = False) -> dict[str, Tensor]:
        """The loss and figures of a batch; with ``points_alone``, cheap masks teach their own head only."""
        resize_inputs(self.sam, batch["pixels"].shape[-1])
        instances = batch["instances"]
        pixels = (batch["pixels"].float() - self.sam.pixel_mean) / self.sam.pixel_std
        embedding = self.sam.image_encoder(pixels.contiguous(memory_format=torch.channels_last))
        with torch.autocast(embedding.device.type, enabled=False):
            x16, x8, _ = unpack((embedding.detach() if points_alone else embedding).float())
            features = self.sam.point_head.prepare(x16, x8)
            points, labels, target = seeds(instances)
            cheap, ious = self.sam.point_head(features, points)
            of_points = point_loss(cheap, ious, target, labels > 0)
            cheap_iou = hard_iou(cheap.detach(), target[:, :, None].expand_as(cheap)).amax(2)[labels > 0].mean()

        clicks, boxes = (self._encode(batch[kind]) for kind in ("clicks", "boxes"))
        prompts = [
            torch.cat([a.unflatten(0, (-1, CLICKS)), b.unflatten(0, (-1, BOXES))], 1).flatten(0, 1)
            for a, b in zip(clicks, boxes, strict=True)
        ]
        labels = torch.cat([batch["clicks"]["labels"], batch["boxes"]["labels"]], 1)
        target = soft_masks(instances, labels)
        masks, ious = self._decode(embedding, *prompts)
        first_loss = prompt_loss(masks, ious, target.flatten(0, 1), labels.flatten() > 0)
        answers = masks.detach(), ious.detach()
        with torch.no_grad():
            first = hard_iou(masks[:, 0], target.flatten(0, 1)).unflatten(0, labels.shape)
            row = {"click": first[:, :CLICKS][labels[:, :CLICKS] > 0].mean(), "box": first[:, CLICKS:].mean()}

        mode = batch["mode"]
        if mode in SAMPLED:
            labels = batch["others"]["labels"]
            encoded, target = self._encode(batch["others"]), soft_masks(instances, labels)
        elif mode == "box_and_click":
            labels, target = labels[:, CLICKS:], target[:, CLICKS:]
            encoded = self._box_and_click(batch["boxes"], answers[0].unflatten(0, (-1, CLICKS + BOXES)), target)
        else:
            labels, target = labels[:, :CLICKS], target[:, :CLICKS]
            if mode == "cheap":
                encoded = self._cheap(batch["clicks"], features)
            else:
                of_clicks = [part.unflatten(0, (-1, CLICKS + BOXES))[:, :CLICKS].flatten(0, 1) for part in answers]
                encoded = self._further_clicks(embedding, batch["clicks"], *of_clicks, target.flatten(0, 1))
        masks, ious = self._decode(embedding, *encoded)
        asked = labels.flatten() > 0
        second_loss = prompt_loss(masks, ious, target.flatten(0, 1), asked)
        with torch.no_grad():
            row[mode] = hard_iou(masks[:, 0], target.flatten(0, 1))[asked].mean()
        loss = first_loss + SECOND_WEIGHT * second_loss + POINT_WEIGHT * of_points
        return {"loss": loss, "points": of_points.detach(), "cheap_best": cheap_iou, **row}

    def _encode(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        points = boxes = None
        if "points" in prompts:
            points = (prompts["points"].flatten(0, 1), prompts["positive"].flatten(0, 1))
        if "boxes" in prompts:
            boxes = prompts["boxes"].flatten(0, 1)
        return self.sam.prompt_encoder(points, boxes, prompts.get("masks"))

    @torch.no_grad()
    def _clicks_at_errors(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Where stride-4 logits N h w are most wrong: pixels N 1 2, and whether they are on the object N 1."""
        points, positive = np.zeros((len(logits), 1, 2), np.float32), np.zeros((len(logits), 1), np.int64)
        answers, truths = ((x > level).cpu().numpy() for x, level in ((logits, 0), (target, 0.5)))
        for row, (truth, answer) in enumerate(zip(truths, answers, strict=True)):
            x, y, positive[row] = next_click(truth, answer) or (0, 0, bool(truth[0, 0]))
            points[row] = x, y
        points = (points + np.random.default_rng(int(points.sum())).uniform(0.2, 0.8, points.shape)) * MASK_STRIDE
        return tuple(torch.from_numpy(each).to(logits.device) for each in (points.astype(np.float32), positive))

    def _further_clicks(
        self, embedding: Tensor, clicks: Prompts, masks: Tensor, ious: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Clicks where the answers to earlier ones are wrong, with the logits of the last answer."""
        points, positive = clicks["points"].flatten(0, 1), clicks["positive"].flatten(0, 1)
        best = 1 + ious[:, 1:].argmax(1)
        logits = voted(masks, likeness(masks))[torch.arange(len(masks), device=masks.device), best]
        rounds = 1 + int(torch.multinomial(torch.tensor(ROUNDS), 1))
        for number in range(rounds):
            point, sign = self._clicks_at_errors(logits, target)
            points, positive = torch.cat([points, point], 1), torch.cat([positive, sign], 1)
            prompts = (points, positive), None, logits[:, None]
            if number == rounds - 1:
                break
            with torch.no_grad():
                masks, _ = self._decode(embedding, *self.sam.prompt_encoder(*prompts))
                logits = voted(masks, likeness(masks))[:, 0]
        return self.sam.prompt_encoder(*prompts)

    def _box_and_click(self, boxes: Prompts, masks: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The boxes with the logits of their answers, and a click where those are wrong."""
        masks = masks[:, CLICKS:].flatten(0, 1)
        logits = voted(masks, likeness(masks))[:, 0]
        click = self._clicks_at_errors(logits, target.flatten(0, 1))
        return self.sam.prompt_encoder(click, boxes["boxes"].flatten(0, 1), logits[:, None])

    @torch.no_grad()
    def _cheap_answers(self, features: tuple[Tensor, ...], points: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest cheap mask of each point B P 2 as stride-4 logits BP 1 h w, and its box BP 4."""
        logits, ious = self.sam.point_head(features, points)
        best = ious.argmax(2)[..., None, None, None]
        logits = logits.take_along_dim(best, 2)[:, :, 0]
        boxes = boxes_of(logits > 0, points, 2 * MASK_STRIDE)
        return F.interpolate(logits.flatten(0, 1)[:, None], scale_factor=2, mode="bilinear"), boxes.flatten(0, 1)

    def _cheap(self, clicks: Prompts, features: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Each click with its cheap mask, and, half of the time, its box."""
        with torch.autocast(clicks["points"].device.type, enabled=False):
            logits, boxes = self._cheap_answers(features, clicks["points"][:, :, 0])
        points = clicks["points"].flatten(0, 1), clicks["positive"].flatten(0, 1)
        return self.sam.prompt_encoder(points, boxes if torch.rand(()) < 0.5 else None, logits)

    def _decode(self, embedding: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        pe = self.sam.prompt_encoder.get_dense_pe()
        parts = (part.to(self.precision) for part in (embedding, pe, sparse, dense))
        weights = {f"decoder.{k}": v.to(self.precision) for k, v in self.sam.mask_decoder.named_parameters()}
        with torch.autocast(embedding.device.type, enabled=False):
            masks, ious = functional_call(PredictMasks(self.sam.mask_decoder), weights, tuple(parts))
        return masks.float(), ious.float()


def boxes_of(masks: Tensor, points: Tensor, stride: int) -> Tensor:
    """x1 y1 x2 y2 in pixels of masks B P h w, B P 4; where a mask is empty, a small one around its point."""
    sides = []
    for axis in (-2, -1):
        there = masks.any(axis)
        places = torch.arange(there.shape[-1], device=masks.device)
        low = torch.where(there, places, there.shape[-1]).amin(-1)
        high = torch.where(there, places, -1).amax(-1) + 1
        sides += [low, high]
    boxes = torch.stack([sides[0], sides[2], sides[1], sides[3]], -1).float() * stride
    empty = ~masks.flatten(2).any(-1)
    return torch.where(empty[..., None], torch.cat([points - 8, points + 8], -1), boxes)
