"""What runs need: arguments, a time budget, a schedule, averaged weights, several processes, checkpoints, a log."""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from segzs.environment import has_fast_bfloat16


def add_run_arguments(parser: argparse.ArgumentParser, out: str, minutes: float) -> None:
    parser.add_argument("--out", type=Path, default=Path(out), metavar="DIR", help="run folder; resumes if it exists")
    parser.add_argument("--minutes", type=float, default=minutes, help="training time over all resumed runs")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: all)")
    parser.add_argument("--seed", type=int, default=0)


def resolve_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where the device has instructions for it; without them it is many times slower than float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bfloat16(device.type))


class Clock:
    """Minutes trained, over all resumed runs, out of a budget."""

    def __init__(self, budget_minutes: float, used_seconds: float = 0.0) -> None:
        self._budget, self._used, self._start = budget_minutes * 60, used_seconds, time.monotonic()

    def seconds(self) -> float:
        return self._used + time.monotonic() - self._start

    def progress(self) -> float:
        """0 at the beginning, 1 when the budget is spent."""
        return min(1.0, self.seconds() / self._budget)


def learning_rate(peak: float, progress: float, step: int, warmup_steps: int = 120, floor: float = 1e-3) -> float:
    """Linear warm-up by steps, then half a cosine over the time budget, down to ``floor`` of the peak."""
    return peak * min(1.0, (step + 1) / warmup_steps) * (0.5 * (1 + math.cos(math.pi * progress)) + floor)


def join_processes() -> tuple[int, int]:
    """Rank and number of processes; more than one when started by ``torchrun --nproc-per-node N -m training.sam``."""
    if "RANK" not in os.environ:
        return 0, 1
    torch.distributed.init_process_group("gloo")
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def furthest(progress: float, processes: int) -> float:
    """The largest progress of all processes, so that all take the same steps."""
    if processes == 1:
        return progress
    value = torch.tensor(progress, dtype=torch.float64)
    torch.distributed.all_reduce(value, torch.distributed.ReduceOp.MAX)
    return float(value)


def average_gradients(module: nn.Module, processes: int) -> None:
    """Replace every gradient by its mean over the processes."""
    if processes == 1:
        return
    for parameter in module.parameters():  # a batch without mask prompts, say, leaves some without a gradient
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_((mean / processes).view_as(gradient))


class Average:
    """Exponential moving average of a module's weights and statistics, warming up with the number of updates."""

    def __init__(self, module: nn.Module, decay: float = 0.9985) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.updates += 1
        decay = min(self._decay, self.updates / (self.updates + 20))
        source = module.state_dict()
        for name, value in self.module.state_dict().items():
            if value.is_floating_point():
                value.lerp_(source[name], 1 - decay)
            else:
                value.copy_(source[name])


def save_checkpoint(folder: Path, state: dict) -> None:
    """Write ``checkpoint.pt`` so that a reader sees the old or the new one, never half."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "checkpoint.tmp"
    torch.save(state, temporary)
    os.replace(temporary, folder / "checkpoint.pt")


def load_checkpoint(folder: Path) -> dict | None:
    """The last checkpoint of a run folder, or None."""
    file = folder / "checkpoint.pt"
    return torch.load(file, map_location="cpu", weights_only=True) if file.exists() else None


def log(folder: Path, **row: object) -> None:
    """Print a row and append it to ``log.jsonl``."""
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
    print("  ".join(f"{k} {v}" for k, v in rounded.items()), flush=True)
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(rounded) + "\n")


def half_precision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point tensors as contiguous fp16, the rest as they are."""
    return {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in state.items()}
