"""Train the tiny SAM from scratch: ``python -m training.sam``. Run it again to go on where it stopped."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from timm.layers import ConvNormAct
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.data import DataLoader

from segzs.sam.networks.tiny import SkipMaskDecoder, build_tiny_sam
from training.batches import BOXES, CLICKS, LARGE, SMALL, Prompts, SceneBatches
from training.losses import MASK_STRIDE, DenseHeads, hard_iou, prompt_loss, soft_masks
from training.packs import UNSEEN_STYLE, Packs, add_packs_argument
from training.prompts import box_around, centre, visible_labels
from training.run import (
    Average,
    Clock,
    add_run_arguments,
    average_gradients,
    furthest,
    half_precision,
    join_processes,
    learning_rate,
    load_checkpoint,
    log,
    resolve_device,
    save_checkpoint,
)
from training.scenes import MEASURED, Compositor

SETTLED_FROM = 0.4
GROWN = "mask_decoder.refine_16."
"""What earlier weights lack."""
SETTLED_SIZES = {384: 0.6, 512: 0.2, LARGE: 0.2}
"""Sizes of batches once the statistics of the batch norms are settled, with their shares."""
HEADS_ALONE = 150
"""Steps of a warm start in which the training-only heads, untrained, learn alone: their errors would undo the rest."""
OWN_REFINEMENT = 0.5
"""Share of the refinements that add nothing but what the model itself said."""


class PredictMasks(nn.Module):
    """A mask decoder whose call is ``predict_masks``, so that it can be called with half-precision weights."""

    def __init__(self, decoder: SkipMaskDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        return self.decoder.predict_masks(*parts)


class Learner(nn.Module):
    """The tiny SAM with its training-only heads: one batch in, one loss out."""

    def __init__(self, concepts: int, precision: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.precision = precision
        self.sam = build_tiny_sam(SMALL)
        self.dense = DenseHeads(concepts)
        for layer in self.sam.mask_decoder.transformer.layers:
            for attention in (layer.cross_attn_token_to_image, layer.cross_attn_image_to_token):
                attention.k_proj.weight.data.copy_(attention.q_proj.weight * 1.5)
        for refine in (self.sam.mask_decoder.refine_8, self.sam.mask_decoder.refine_4):
            nn.init.zeros_(refine[-1].weight)
            nn.init.zeros_(refine[-1].bias)

    def forward(self, batch: dict, dense_weight: float, heads_alone: bool = False) -> dict[str, Tensor]:
        resize_inputs(self.sam, batch["pixels"].shape[-1])
        pixels = (batch["pixels"].float() - self.sam.pixel_mean) / self.sam.pixel_std
        embedding = self.sam.image_encoder(pixels.contiguous(memory_format=torch.channels_last))
        seen = embedding.detach() if heads_alone else embedding
        dense = self.dense(seen, batch["instances"], batch["concepts"])

        clicks, boxes = (self._encode(batch[kind]) for kind in ("clicks", "boxes"))
        first = [
            torch.cat([a.unflatten(0, (-1, CLICKS)), b.unflatten(0, (-1, BOXES))], 1).flatten(0, 1)
            for a, b in zip(clicks, boxes, strict=True)
        ]
        labels = torch.cat([batch["clicks"]["labels"], batch["boxes"]["labels"]], 1)
        target = soft_masks(batch["instances"], labels)
        first_masks, ious = self._decode(embedding, *first)
        first_loss = prompt_loss(first_masks, ious, target.flatten(0, 1), labels.flatten() > 0)
        own = False
        if batch["others"]:
            other_labels = batch["others"]["labels"]
            encoded = self._encode(batch["others"])
            other_target = soft_masks(batch["instances"], other_labels)
        else:
            masks, ious = first_masks.unflatten(0, labels.shape), ious.unflatten(0, labels.shape)
            own = bool(torch.rand(()) < OWN_REFINEMENT)
            keep = torch.arange(CLICKS) if own else torch.tensor([int(torch.randint(CLICKS, ())), CLICKS])
            other_labels, other_target = labels[:, keep], target[:, keep]
            if own:
                encoded = self._own_refinement(batch, masks[:, keep], ious[:, keep])
            else:
                encoded = self._refinement(batch, keep, masks[:, keep], other_target)
        other_masks, other_ious = self._decode(embedding, *encoded)
        other_loss = prompt_loss(other_masks, other_ious, other_target.flatten(0, 1), other_labels.flatten() > 0)
        loss = first_loss + 0.5 * other_loss + dense_weight * dense
        with torch.no_grad():
            found = hard_iou(first_masks[:, 0], target.flatten(0, 1)).unflatten(0, labels.shape)
            again = hard_iou(other_masks[:, 0], other_target.flatten(0, 1))[other_labels.flatten() > 0].mean()
            real = batch["clicks"]["labels"] > 0
        return {
            "loss": loss,
            "dense": dense.detach(),
            "click": found[:, :CLICKS][real].mean(),
            "box": found[:, CLICKS:].mean(),
            "again" if own else "other": again,
        }

    def _encode(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        points = boxes = None
        if "points" in prompts:
            points = (prompts["points"].flatten(0, 1), prompts["positive"].flatten(0, 1))
        if "boxes" in prompts:
            boxes = prompts["boxes"].flatten(0, 1)
        return self.sam.prompt_encoder(points, boxes, prompts.get("masks"))

    def _refinement(self, batch: dict, keep: Tensor, masks: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Ask again for one click and one box of each scene: the mask so far and a point where it is wrong."""
        logits = masks[:, :, 0].detach().float()
        wrong = ((logits > 0) != (target > 0.5)).flatten(2)
        where = torch.multinomial((wrong + 1e-6).flatten(0, 1), 1).unflatten(0, wrong.shape[:2])
        side = logits.shape[-1]
        points = torch.cat([where % side, where // side], -1).float()[:, :, None] * 4 + 2
        positive = target.flatten(2).gather(2, where) > 0.5
        click = {
            "points": torch.cat([batch["clicks"]["points"][:, keep[:1]], points[:, :1]], 2),
            "positive": torch.cat([batch["clicks"]["positive"][:, keep[:1]], positive[:, :1].long()], 2),
            "masks": logits[:, 0, None],
        }
        box = {
            "boxes": batch["boxes"]["boxes"][:, :1],
            "points": points[:, 1:],
            "positive": positive[:, 1:].long(),
            "masks": logits[:, 1, None],
        }
        pairs = zip(self._encode(click), self._encode(box), strict=True)
        sparse, dense = (torch.stack(pair, 1).flatten(0, 1) for pair in pairs)
        return sparse, dense

    def _own_refinement(self, batch: dict, masks: Tensor, ious: Tensor) -> tuple[Tensor, Tensor]:
        """Ask again for every click by what the model said: the click, the best of its three masks, and its box."""
        best = 1 + ious[:, :, 1:].argmax(2)
        logits = masks.detach().float().take_along_dim(best[:, :, None, None, None], 2)[:, :, 0]
        return self._encode(
            {
                "points": batch["clicks"]["points"],
                "positive": batch["clicks"]["positive"],
                "boxes": boxes_of(logits > 0, batch["clicks"]["points"][:, :, 0]),
                "masks": logits.flatten(0, 1)[:, None],
            }
        )

    def _decode(self, embedding: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        pe = self.sam.prompt_encoder.get_dense_pe()
        parts = (part.to(self.precision) for part in (embedding, pe, sparse, dense))
        weights = {f"decoder.{k}": v.to(self.precision) for k, v in self.sam.mask_decoder.named_parameters()}
        with torch.autocast(embedding.device.type, enabled=False):
            masks, ious = functional_call(PredictMasks(self.sam.mask_decoder), weights, tuple(parts))
        return masks.float(), ious.float()


def boxes_of(masks: Tensor, points: Tensor) -> Tensor:
    """x1 y1 x2 y2 in pixels of stride-4 masks B P h w, B P 4; where a mask is empty, a small one around its point."""
    sides = []
    for axis in (-2, -1):
        there = masks.any(axis)
        places = torch.arange(there.shape[-1], device=masks.device)
        low = torch.where(there, places, there.shape[-1]).amin(-1)
        high = torch.where(there, places, -1).amax(-1) + 1
        sides += [low, high]
    boxes = torch.stack([sides[0], sides[2], sides[1], sides[3]], -1).float() * MASK_STRIDE
    empty = ~masks.flatten(2).any(-1)
    return torch.where(empty[..., None], torch.cat([points - 8, points + 8], -1), boxes)


def resize_inputs(sam: nn.Module, size: int) -> None:
    """Let a built tiny SAM take square inputs of another size."""
    sam.image_encoder.img_size = size
    sam.prompt_encoder.input_image_size = (size, size)
    sam.prompt_encoder.image_embedding_size = (size // 16, size // 16)
    sam.prompt_encoder.mask_input_size = (size // 4, size // 4)


def settle(learner: Learner) -> None:
    """Freeze the first layers and the statistics of batch norms; fold the backbone's norms into its convolutions.

    What the other weights compute, and their gradients, are those of frozen statistics, in fewer passes over the data.
    """
    learner.sam.image_encoder.backbone.stem.requires_grad_(False)
    learner.sam.image_encoder.backbone.s1.requires_grad_(False)
    for part in learner.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
        if isinstance(part, ConvNormAct):
            part.forward = partial(_folded, part)


def _folded(block: ConvNormAct, x: Tensor) -> Tensor:
    conv, norm = block.conv, block.bn
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    weight, bias = conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
    if conv.kernel_size == (1, 1) and conv.stride == (1, 1):
        y = F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
    else:
        y = F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    return norm.act(y)


@torch.no_grad()
def spot_check(sam: nn.Module, packs: Packs, device: torch.device, scenes: int) -> dict[str, float]:
    """Mean IoU of boxes and centre clicks on a few fixed scenes of each kind of style, at stride 4."""
    resize_inputs(sam, LARGE)
    row = {}
    for style, recipe in (("seen", MEASURED), ("unseen", replace(MEASURED, styles=(UNSEEN_STYLE,)))):
        compositor = Compositor(packs, recipe, np.random.default_rng(77))
        scores: dict[str, list[float]] = {"click": [], "box": []}
        guesses, truths = [], []
        for _ in range(scenes):
            scene = compositor.scene(576, LARGE)
            instances = np.zeros((LARGE, LARGE), np.int16)
            instances[:576] = scene.instances
            pixels = torch.zeros(1, 3, LARGE, LARGE, device=device)
            picture = torch.from_numpy(scene.pixels).permute(2, 0, 1).float().to(device)
            pixels[0, :, :576] = (picture - sam.pixel_mean) / sam.pixel_std
            labels = visible_labels(instances, 400)
            masks = [instances == label for label in labels]
            target = soft_masks(
                torch.from_numpy(instances)[None].to(device), torch.from_numpy(labels)[None].to(device)
            )[0]
            points = torch.tensor(np.array([centre(m) for m in masks]), device=device).float()[:, None] + 0.5
            boxes = torch.from_numpy(np.array([box_around(m) for m in masks])).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu"):
                embedding = sam.image_encoder(pixels)
                for kind, prompt in (
                    ("click", ((points, torch.ones(points.shape[:2], device=device)), None, None)),
                    ("box", (None, boxes, None)),
                ):
                    encoded = sam.prompt_encoder(*prompt)
                    pe = sam.prompt_encoder.get_dense_pe()
                    logits, ious = sam.mask_decoder.predict_masks(embedding, pe, *encoded)
                    true = hard_iou(logits.float(), target[:, None].expand_as(logits))
                    scores[kind] += true[:, 0].tolist()
                    guesses += ious.float().flatten().tolist()
                    truths += true.flatten().tolist()
        row |= {f"{style}_{kind}": float(np.mean(values)) for kind, values in scores.items()}
        row[f"{style}_rank"] = float(np.corrcoef(guesses, truths)[0, 1])
    return row


def move(batch: dict, device: torch.device) -> dict:
    return {k: move(v, device) if isinstance(v, dict) else v.to(device, non_blocking=True) for k, v in batch.items()}


class Trainer:
    """A run: the learner, its average, its optimiser, and where it stands; resumed from its folder if it is there."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        if arguments.threads:
            torch.set_num_threads(arguments.threads)
        torch.manual_seed(arguments.seed)
        self.arguments = arguments
        self.device = resolve_device(arguments.device)
        self.rank, self.processes = join_processes()
        precision = {"bf16": torch.bfloat16, "fp32": torch.float32}[arguments.precision]
        learner = Learner(len(arguments.packs.concepts()), precision)
        self.learner = learner.to(device=self.device, memory_format=torch.channels_last)
        saved = load_checkpoint(arguments.out)
        if saved is None and arguments.warm_start:
            _start_from(self.learner.sam, mean_weights(arguments.warm_start))
        elif saved is None and arguments.freeze_backbone:
            raise SystemExit("--freeze-backbone: there is nothing trained to freeze; give --warm-start as well")
        self.average = Average(self.learner.sam)
        self.optimizer = _optimizer(self.learner, arguments.rate)
        self.frozen = arguments.freeze_backbone
        self.step, self.scenes, used = 0, 0, 0.0
        self.settled = self.warm = bool(arguments.warm_start)
        if saved:
            self.learner.load_state_dict(saved["learner"])
            self.average.module.load_state_dict(saved["average"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step, self.scenes, used, self.average.updates, self.settled, self.frozen = (
                saved[key] for key in ("step", "scenes", "seconds", "updates", "settled", "frozen")
            )
        self.clock = Clock(arguments.minutes, used)
        arguments.out.mkdir(parents=True, exist_ok=True)

    def train(self) -> None:
        """Step until the time is up; the first process logs, checks and saves."""
        batches = self._batches()
        logged, checked, saved = Means(), self.clock.seconds(), self.clock.seconds()
        while (progress := furthest(self.clock.progress(), self.processes)) < 1:
            if not self.settled and progress >= SETTLED_FROM:
                self.settled = True
                batches = self._batches()
            logged.add(self._step(next(batches), progress))
            if self.rank:
                continue
            now = self.clock.seconds()
            if logged.count == 100:
                log(self.arguments.out, step=self.step, scenes=self.scenes, minutes=now / 60, **logged.take())
            if now - checked > 420:
                checked = now
                self.check()
            if now - saved > 180:
                saved = now
                self.save()
        if self.rank == 0:
            self.save()
            self.check()

    def _batches(self) -> Iterator[dict]:
        self.learner.train()
        if self.settled:
            settle(self.learner)
        if self.frozen:
            self.learner.sam.image_encoder.backbone.requires_grad_(False)
        sizes = SETTLED_SIZES if self.settled else {SMALL: 1.0}
        seed = (self.arguments.seed, self.step)
        data = SceneBatches(self.arguments.packs, sizes, self.arguments.batch, seed, self.rank)
        return iter(DataLoader(data, batch_size=None, num_workers=self.arguments.workers))

    def _step(self, batch: dict, progress: float) -> dict[str, float]:
        batch = move(batch, self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.arguments.rate, progress, self.step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.arguments.precision == "bf16"):
            values = self.learner(batch, max(0.4, 1 - progress), self.warm and self.step < HEADS_ALONE)
        self.optimizer.zero_grad(set_to_none=True)
        values["loss"].backward()
        average_gradients(self.learner, self.processes)
        parts = (self.learner.sam, self.learner.dense)
        norms = torch.stack([nn.utils.clip_grad_norm_(part.parameters(), 2.0) for part in parts])
        if not norms.isfinite().all():
            self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.step()
        self.average.update(self.learner.sam)
        self.step, self.scenes = self.step + 1, self.scenes + len(batch["pixels"]) * self.processes
        return {"norm": float(norms[0]), **{key: float(value.detach()) for key, value in values.items()}}

    def check(self) -> None:
        found = spot_check(self.average.module, self.arguments.packs, self.device, self.arguments.check_scenes)
        log(self.arguments.out, step=self.step, minutes=self.clock.seconds() / 60, **found)

    def save(self) -> None:
        state = {"learner": self.learner.state_dict(), "average": self.average.module.state_dict()}
        state |= {"optimizer": self.optimizer.state_dict(), "updates": self.average.updates}
        state |= {"step": self.step, "scenes": self.scenes, "seconds": self.clock.seconds()}
        state |= {"settled": self.settled, "frozen": self.frozen}
        save_checkpoint(self.arguments.out, state)


class Means:
    """Means of rows of figures since they were last taken; a figure that a row could not tell (NaN) is left out."""

    def __init__(self) -> None:
        self.values, self.count = defaultdict[str, list[float]](list), 0

    def add(self, row: dict[str, float]) -> None:
        self.count += 1
        for key, value in row.items():
            self.values[key].append(value)

    def take(self) -> dict[str, float]:
        means = {key: float(np.nanmean(values)) for key, values in self.values.items()}
        self.values.clear()
        self.count = 0
        return means


def mean_weights(files: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of exported weights of runs with a common beginning; often better than each of them."""
    runs = [load_file(file) for file in files]
    shapes = [{name: weight.shape for name, weight in run.items()} for run in runs]
    if any(other != shapes[0] for other in shapes):
        raise SystemExit(f"{', '.join(map(str, files))} are not weights of one architecture")
    return {name: sum(run[name].float() for run in runs) / len(runs) for name in runs[0]}


def _start_from(sam: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load weights of this architecture, or of the one before: what that lacked begins untrained."""
    untrained = {name: weight for name, weight in sam.state_dict().items() if name.startswith(GROWN)}
    try:
        sam.load_state_dict(untrained | weights)
    except RuntimeError as error:
        raise SystemExit(f"not the tiny SAM's weights: {error}") from None
    if not untrained.keys() <= weights.keys():
        print(f"{GROWN[:-1]} begins untrained")


def _optimizer(learner: Learner, rate: float) -> torch.optim.Optimizer:
    decayed = [p for p in learner.parameters() if p.ndim > 1]
    others = [p for p in learner.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.03}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate)


def export(run: Path, file: Path) -> None:
    """Write a run's averaged weights as fp16 safetensors."""
    saved = load_checkpoint(run)
    if saved is None:
        raise SystemExit(f"no checkpoint in {run}: train first")
    scenes, minutes = str(saved["scenes"]), f"{saved['seconds'] / 60:.0f}"
    _write(saved["average"], file, {"scenes": scenes, "minutes": minutes})


def _write(weights: dict[str, Tensor], file: Path, known: dict[str, str]) -> None:
    if weights.keys() != build_tiny_sam().state_dict().keys():
        raise SystemExit("not the tiny SAM's weights, or those of an earlier architecture: train them on")
    save_file(half_precision(weights), file, {"architecture": "tiny", **known})
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB {' '.join(f'{name} {value}' for name, value in known.items())}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_packs_argument(parser)
    add_run_arguments(parser, out="training/runs/sam", minutes=240)
    parser.add_argument("--batch", type=int, default=8, help="small scenes a step; fewer when they are larger")
    parser.add_argument("--rate", type=float, default=1.2e-3, help="highest learning rate")
    parser.add_argument(
        "--precision", choices=("bf16", "fp32"), default="bf16", help="fp32 where a CPU is slow in bf16"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that make scenes")
    parser.add_argument("--check-scenes", type=int, default=16, help="scenes a style in the checks on the way")
    parser.add_argument(
        "--warm-start",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="start from exported weights, or the mean of several: no small scenes first",
    )
    parser.add_argument(
        "--freeze-backbone", action="store_true", help="train only what stands on the encoder's backbone; more steps"
    )
    parser.add_argument(
        "--export", type=Path, metavar="FILE", help="write the run's weights, or the mean of --warm-start's, and end"
    )
    arguments = parser.parse_args()
    if arguments.export and arguments.warm_start:
        _write(mean_weights(arguments.warm_start), arguments.export, {"mean_of": str(len(arguments.warm_start))})
    elif arguments.export:
        export(arguments.out, arguments.export)
    else:
        Trainer(arguments).train()


if __name__ == "__main__":
    main()
