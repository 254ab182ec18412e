"""Train the tiny SAM: ``python -m training.sam --warm-start FILE``. Run it again to go on where it stopped."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from segzs.environment import has_fast_bfloat16
from segzs.sam.networks.tiny import build_tiny_sam
from training.batches import SceneBatches
from training.checks import check, checked_pictures
from training.learner import Learner
from training.packs import add_packs_argument
from training.run import (
    Average,
    Clock,
    add_run_arguments,
    autocast,
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

SIZES = {0.0: {384: 0.3, 512: 0.35, 640: 0.2, 768: 0.15}, 0.5: {384: 0.1, 512: 0.3, 768: 0.6}}
"""From a share of the time on, sides of batches with their shares."""
FROZEN_BLOCKS = 2
RATES = {"image_encoder.backbone.": 0.4, "point_head.": 2.5}
"""Learning rates of parts of the SAM, as shares of the others'."""
POINTS_ALONE = 200
"""Steps of a start in which an untrained `PointHead` does not change what it stands on."""
CHECK_SECONDS, SAVE_SECONDS = 600, 180


def freeze(learner: Learner) -> None:
    """Freeze the backbone's first blocks, its depthwise filters, and the statistics of batch norms.

    The gradients of these layers cost more than half of the backbone's, and ImageNet has taught them well.
    """
    learner.train()
    network = learner.sam.image_encoder.backbone.network
    for part in (network.conv_stem, network.blocks[:FROZEN_BLOCKS]):
        part.requires_grad_(False)
    for name, part in learner.named_modules():
        if name.endswith("conv_dw"):
            part.requires_grad_(False)
        if isinstance(part, nn.BatchNorm2d):
            part.eval()


def move(batch: dict, device: torch.device) -> dict:
    moved = {}
    for name, value in batch.items():
        if isinstance(value, dict):
            value = move(value, device)
        moved[name] = value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
    return moved


class Trainer:
    """A run: the learner, its average, its optimiser, and where it stands; resumed from its folder if it is there."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        if arguments.threads:
            torch.set_num_threads(arguments.threads)
        torch.manual_seed(arguments.seed)
        self.arguments = arguments
        self.device = resolve_device(arguments.device)
        self.rank, self.processes = join_processes()
        learner = Learner(torch.bfloat16 if has_fast_bfloat16(self.device.type) else torch.float32)
        self.learner = learner.to(device=self.device, memory_format=torch.channels_last)
        saved = load_checkpoint(arguments.out)
        if saved is None and arguments.warm_start:
            _load(self.learner.sam, mean_weights(arguments.warm_start))
        freeze(self.learner)
        self.average = Average(self.learner.sam, arguments.decay)
        self.optimizer = _optimizer(self.learner.sam)
        self.step, self.scenes, used = 0, 0, 0.0
        if saved:
            self.learner.load_state_dict(saved["learner"])
            self.average.module.load_state_dict(saved["average"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step, self.scenes, used, self.average.updates = (
                saved[key] for key in ("step", "scenes", "seconds", "updates")
            )
        self.clock = Clock(arguments.minutes, used)
        arguments.out.mkdir(parents=True, exist_ok=True)

    def train(self) -> None:
        """Step until the time is up; the first process logs, checks and saves."""
        logged, checked, saved = Means(), self.clock.seconds(), self.clock.seconds()
        phase, batches = -1.0, iter(())
        while (progress := furthest(self.clock.progress(), self.processes)) < 1:
            if phase != (phase := max(start for start in SIZES if start <= progress)):
                batches = self._batches(SIZES[phase])
            logged.add(self._step(next(batches), progress))
            if self.rank:
                continue
            now = self.clock.seconds()
            if logged.count == 50:
                log(self.arguments.out, step=self.step, scenes=self.scenes, minutes=now / 60, **logged.take())
            if now - checked > CHECK_SECONDS:
                checked = now
                self.check()
            if now - saved > SAVE_SECONDS:
                saved = now
                self.save()
        if self.rank == 0:
            self.save()
            self.check()

    def _batches(self, sizes: dict[int, float]) -> Iterator[dict]:
        seed = (self.arguments.seed, self.step)
        data = SceneBatches(self.arguments.packs, sizes, self.arguments.batch, seed, self.rank)
        return iter(DataLoader(data, batch_size=None, num_workers=self.arguments.workers))

    def _step(self, batch: dict, progress: float) -> dict[str, float]:
        batch = move(batch, self.device)
        rate = learning_rate(self.arguments.rate, progress, self.step, floor=0.05)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        with autocast(self.device):
            values = self.learner(batch, self.step < POINTS_ALONE)
        self.optimizer.zero_grad(set_to_none=True)
        values["loss"].backward()
        average_gradients(self.learner, self.processes)
        points = set(self.learner.sam.point_head.parameters())
        others = [parameter for parameter in self.learner.parameters() if parameter not in points]
        norms = torch.stack([nn.utils.clip_grad_norm_(part, 3.0) for part in (others, points)])
        if not norms.isfinite().all():
            self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.step()
        self.average.update(self.learner.sam)
        self.step, self.scenes = self.step + 1, self.scenes + len(batch["pixels"]) * self.processes
        return {"norm": float(norms[0]), **{key: float(value.detach()) for key, value in values.items()}}

    def check(self) -> None:
        pictures = checked_pictures(
            self.arguments.packs, self.arguments.check_pictures // 3, self.arguments.check_pictures
        )
        found = check(self.average.module, pictures, self.device)
        log(self.arguments.out, step=self.step, minutes=self.clock.seconds() / 60, **found)

    def save(self) -> None:
        state = {"learner": self.learner.state_dict(), "average": self.average.module.state_dict()}
        state |= {"optimizer": self.optimizer.state_dict(), "updates": self.average.updates}
        state |= {"step": self.step, "scenes": self.scenes, "seconds": self.clock.seconds()}
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


def _load(sam: nn.Module, weights: dict[str, Tensor]) -> None:
    try:
        sam.load_state_dict(weights)
    except RuntimeError as error:
        raise SystemExit(f"not the tiny SAM's weights: {error}") from None


def _optimizer(sam: nn.Module) -> torch.optim.Optimizer:
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in sam.named_parameters():
        if parameter.requires_grad:
            share = next((share for start, share in RATES.items() if name.startswith(start)), 1.0)
            groups[share, 0.03 if parameter.ndim > 1 else 0.0].append(parameter)
    rows = [{"params": each, "share": share, "weight_decay": decay} for (share, decay), each in groups.items()]
    return torch.optim.AdamW(rows)


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
    parser.add_argument("--batch", type=int, default=4, help="small scenes a step; fewer when they are larger")
    parser.add_argument("--rate", type=float, default=4e-4, help="highest learning rate")
    parser.add_argument("--decay", type=float, default=0.998, help="of the average of the weights, a step")
    parser.add_argument("--workers", type=int, default=1, help="processes that make scenes")
    parser.add_argument("--check-pictures", type=int, default=36, help="photographs in the checks on the way")
    parser.add_argument(
        "--warm-start",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="start from these weights, or the mean of several",
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
