"""Train the tiny SAM from scratch: ``python -m training.sam``. Run it again to go on where it stopped."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader, IterableDataset

from segzs.sam.tiny import SkipMaskDecoder, build_tiny_sam
from training.losses import DenseHeads, hard_iou, prompt_loss, soft_masks
from training.packs import UNSEEN_STYLE, Packs, add_packs_argument
from training.prompts import PromptSampler, SampledPrompts, box_around, centre, visible_labels
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
from training.scenes import MEASURED, TRAINING, Compositor, Scene

SMALL, LARGE = 320, 512
LARGE_FROM = 0.82
CLICKS, BOXES, OTHERS = 2, 2, 2
PEAK_RATE = 1.2e-3

Prompts = dict[str, Tensor]


class SceneBatches(IterableDataset):
    """Endless batches: pixels B 3 S S, instances B S S, and prompts of three kinds as tensors."""

    def __init__(self, packs: Packs, size: int, batch: int, seed: int) -> None:
        self.packs, self.size, self.batch, self.seed = packs, size, batch, seed

    def __iter__(self) -> Iterator[dict]:
        cv2.setNumThreads(0)
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        compositor = Compositor(self.packs, TRAINING, rng)
        plain = Compositor(self.packs, replace(MEASURED, size=(0.14, 0.6), restyle=0.2, margin=0.4), rng)
        while True:
            other = ("points", "boxes_with_point", "refine")[rng.choice(3, p=[0.35, 0.2, 0.45])]
            scenes, kinds = [], []
            while len(scenes) < self.batch:
                scene = self._padded(plain if rng.random() < 0.6 else compositor, rng)
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
                "clicks": _stack(clicks),
                "boxes": _stack(boxes),
                "others": _stack(others) if other != "refine" else {},
            }

    def _padded(self, compositor: Compositor, rng: np.random.Generator) -> Scene:
        """A scene in a square; one in four is oblong with an empty right or lower part, as SAM pads photographs."""
        size = self.size
        oblong = int(size * rng.uniform(0.6, 0.95)) if rng.random() < 0.25 else size
        height, width = (oblong, size) if rng.random() < 0.7 else (size, oblong)
        scene = compositor.scene(height, width)
        instances = np.zeros((size, size), np.int16)
        instances[:height, :width] = scene.instances
        pixels = np.empty((size, size, 3), np.uint8)
        pixels[:] = np.array([124, 116, 104], np.uint8)
        pixels[:height, :width] = scene.pixels
        return Scene(pixels, instances, scene.codes)


def _stack(rows: tuple[SampledPrompts, ...]) -> Prompts:
    fields = ("labels", "points", "positive", "boxes")
    columns = {name: [getattr(row, name) for row in rows] for name in fields}
    return {k: torch.from_numpy(np.stack(v)) for k, v in columns.items() if v[0] is not None}


class PredictMasks(nn.Module):
    """A mask decoder whose call is ``predict_masks``, so that it can be called with half-precision weights."""

    def __init__(self, decoder: SkipMaskDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        return self.decoder.predict_masks(*parts)


class Learner(nn.Module):
    """The tiny SAM with its training-only heads: one batch in, one loss out."""

    def __init__(self) -> None:
        super().__init__()
        self.sam = build_tiny_sam(SMALL)
        self.dense = DenseHeads()
        for layer in self.sam.mask_decoder.transformer.layers:
            for attention in (layer.cross_attn_token_to_image, layer.cross_attn_image_to_token):
                attention.k_proj.weight.data.copy_(attention.q_proj.weight * 1.5)

    def forward(self, batch: dict, dense_weight: float) -> dict[str, Tensor]:
        resize_inputs(self.sam, batch["pixels"].shape[-1])
        pixels = (batch["pixels"].float() - self.sam.pixel_mean) / self.sam.pixel_std
        embedding = self.sam.image_encoder(pixels.contiguous(memory_format=torch.channels_last))
        dense = self.dense(embedding, batch["instances"])

        clicks, boxes = (self._encode(batch[kind]) for kind in ("clicks", "boxes"))
        first = [
            torch.cat([a.unflatten(0, (-1, CLICKS)), b.unflatten(0, (-1, BOXES))], 1).flatten(0, 1)
            for a, b in zip(clicks, boxes, strict=True)
        ]
        labels = torch.cat([batch["clicks"]["labels"], batch["boxes"]["labels"]], 1)
        target = soft_masks(batch["instances"], labels)
        masks, ious = self._decode(embedding, *first)
        first_loss = prompt_loss(masks, ious, target.flatten(0, 1), labels.flatten() > 0)
        if batch["others"]:
            other_labels = batch["others"]["labels"]
            encoded = self._encode(batch["others"])
            other_target = soft_masks(batch["instances"], other_labels)
        else:
            keep = torch.tensor([int(torch.randint(CLICKS, ())), CLICKS])
            other_labels, other_target = labels[:, keep], target[:, keep]
            encoded = self._refinement(batch, keep, masks.unflatten(0, labels.shape)[:, keep], other_target)
        other_masks, other_ious = self._decode(embedding, *encoded)
        other_loss = prompt_loss(other_masks, other_ious, other_target.flatten(0, 1), other_labels.flatten() > 0)
        loss = first_loss + 0.5 * other_loss + dense_weight * dense
        with torch.no_grad():
            found = hard_iou(masks[:, 0], target.flatten(0, 1)).unflatten(0, labels.shape)
            real = batch["clicks"]["labels"] > 0
        return {
            "loss": loss,
            "dense": dense.detach(),
            "click": found[:, :CLICKS][real].mean(),
            "box": found[:, CLICKS:].mean(),
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

    def _decode(self, embedding: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        pe = self.sam.prompt_encoder.get_dense_pe()
        parts = (part.to(torch.bfloat16) for part in (embedding, pe, sparse, dense))
        weights = {f"decoder.{k}": v.to(torch.bfloat16) for k, v in self.sam.mask_decoder.named_parameters()}
        with torch.autocast(embedding.device.type, enabled=False):
            masks, ious = functional_call(PredictMasks(self.sam.mask_decoder), weights, tuple(parts))
        return masks.float(), ious.float()


def resize_inputs(sam: nn.Module, size: int) -> None:
    """Let a built tiny SAM take square inputs of another size."""
    sam.image_encoder.img_size = size
    sam.prompt_encoder.input_image_size = (size, size)
    sam.prompt_encoder.image_embedding_size = (size // 16, size // 16)


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
            scene = compositor.scene(384, 512)
            instances = np.zeros((LARGE, LARGE), np.int16)
            instances[:384] = scene.instances
            pixels = torch.zeros(1, 3, LARGE, LARGE, device=device)
            picture = torch.from_numpy(scene.pixels).permute(2, 0, 1).float().to(device)
            pixels[0, :, :384] = (picture - sam.pixel_mean) / sam.pixel_std
            labels = visible_labels(instances, 180)
            masks = [instances == label for label in labels]
            target = soft_masks(
                torch.from_numpy(instances)[None].to(device), torch.from_numpy(labels)[None].to(device)
            )[0]
            points = torch.tensor(np.array([centre(m) for m in masks]), device=device).float()[:, None] + 0.5
            boxes = torch.from_numpy(np.array([box_around(m) for m in masks])).to(device)
            with torch.autocast(device.type, torch.bfloat16):
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


def train(arguments: argparse.Namespace) -> None:
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = resolve_device(arguments.device)
    rank, processes = join_processes()
    torch.manual_seed(arguments.seed)
    learner = Learner().to(device=device, memory_format=torch.channels_last)
    saved = load_checkpoint(arguments.out)
    if saved is None and arguments.start:
        learner.sam.load_state_dict(load_file(arguments.start))
    average = Average(learner.sam)
    decayed = [p for p in learner.parameters() if p.ndim > 1]
    others = [p for p in learner.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.03}, {"params": others, "weight_decay": 0.0}], lr=PEAK_RATE
    )
    step, scenes, used = 0, 0, 0.0
    if saved:
        learner.load_state_dict(saved["learner"])
        average.module.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step, scenes, used, average.updates = (saved[k] for k in ("step", "scenes", "seconds", "updates"))
    arguments.out.mkdir(parents=True, exist_ok=True)
    clock = Clock(arguments.minutes, used)
    last_saved = last_checked = clock.seconds()
    size, batches, sums, count = 0, iter(()), {}, 0

    def check() -> None:
        found = spot_check(average.module, arguments.packs, device, arguments.check_scenes)
        log(arguments.out, step=step, minutes=clock.seconds() / 60, **found)

    def save() -> None:
        state = {"learner": learner.state_dict(), "average": average.module.state_dict()}
        state |= {"optimizer": optimizer.state_dict(), "updates": average.updates}
        save_checkpoint(arguments.out, state | {"step": step, "scenes": scenes, "seconds": clock.seconds()})

    while (progress := furthest(clock.progress(), processes)) < 1:
        wanted = LARGE if progress >= LARGE_FROM else SMALL
        if wanted != size:
            size = wanted
            batch_size = arguments.batch if size == SMALL else max(2, arguments.batch // 2)
            data = SceneBatches(arguments.packs, size, batch_size, (arguments.seed + step) * 64 + rank)
            batches = iter(DataLoader(data, batch_size=None, num_workers=arguments.workers))
        learner.train()
        if size == LARGE:
            _freeze_statistics(learner)
        batch = move(next(batches), device)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(PEAK_RATE, progress, step)
        with torch.autocast(device.type, torch.bfloat16):
            values = learner(batch, dense_weight=max(0.4, 1 - progress))
        optimizer.zero_grad(set_to_none=True)
        values["loss"].backward()
        average_gradients(learner, processes)
        norm = nn.utils.clip_grad_norm_(learner.parameters(), 2.0)
        if not torch.isfinite(norm):
            optimizer.zero_grad(set_to_none=True)
        optimizer.step()
        average.update(learner.sam)
        step, scenes, count = step + 1, scenes + len(batch["pixels"]) * processes, count + 1
        for key, value in values.items():
            sums[key] = sums.get(key, 0.0) + float(value.detach())
        now = clock.seconds()
        if rank:
            continue
        if count == 100:
            means = {k: v / count for k, v in sums.items()}
            log(arguments.out, step=step, scenes=scenes, minutes=now / 60, size=size, norm=float(norm), **means)
            sums, count = {}, 0
        if now - last_checked > 420:
            last_checked = now
            check()
        if now - last_saved > 180:
            last_saved = now
            save()
    if rank == 0:
        save()
        check()


def _freeze_statistics(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()


def export(run: Path, file: Path) -> None:
    """Write a run's averaged weights as fp16 safetensors."""
    saved = load_checkpoint(run)
    if saved is None:
        raise SystemExit(f"no checkpoint in {run}: train first")
    scenes, minutes = str(saved["scenes"]), f"{saved['seconds'] / 60:.0f}"
    metadata = {"architecture": "tiny", "scenes": scenes, "minutes": minutes}
    save_file(half_precision(saved["average"]), file, metadata)
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB after {scenes} scenes, {minutes} minutes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_packs_argument(parser)
    add_run_arguments(parser, out="training/runs/sam", minutes=240)
    parser.add_argument("--batch", type=int, default=8, help="scenes a step at 320 px; half as many at 512 px")
    parser.add_argument("--workers", type=int, default=1, help="processes that make scenes")
    parser.add_argument("--check-scenes", type=int, default=16, help="scenes a style in the checks on the way")
    parser.add_argument("--start", type=Path, metavar="FILE", help="warm start from exported weights")
    parser.add_argument("--export", type=Path, metavar="FILE", help="write the run's weights instead of training")
    arguments = parser.parse_args()
    if arguments.export:
        export(arguments.out, arguments.export)
    else:
        train(arguments)


if __name__ == "__main__":
    main()
