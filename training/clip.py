"""Train the tiny CLIP from scratch: ``python -m training.clip``. Run it again to go on where it stopped."""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from training.concepts import Labels, Text, Vocabulary
from training.crops import MILD, STYLE_SHARES, CropBatches, Studio
from training.packs import UNSEEN_STYLE, Packs, add_packs_argument
from training.run import add_run_arguments, load_checkpoint, log, resolve_device, save_checkpoint
from training.student import Student, export, export_general_vocabulary

CONFIG = Path(__file__).parents[1] / "checkpoints" / "tiny_clip.json"
SMALL_SIDE, SMALL_SHARE = 64, 0.55
PEAK_RATE, WARMUP_MINUTES, WEIGHT_DECAY = 2e-3, 1.0, 0.05
PICTURES_PER_TEXT = 3
ALIGN_RATE = 1e-3
AVERAGE_DECAY = 0.998
SAVE_MINUTES, EVALUATE_MINUTES = 3.0, 5.0
EVALUATION_CROPS = 240


@dataclass
class Progress:
    """How far a run has come."""

    minutes: float = 0.0
    step: int = 0
    crops: int = 0
    warm: bool = False
    """Started from exported weights: no small crops first, also when it is resumed."""


class Trainer:
    """Owns the model, its average, the optimiser and the run folder."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.config = json.loads(CONFIG.read_text())
        packs: Packs = arguments.packs
        self.out, self.minutes, self.workers = arguments.out, arguments.minutes, arguments.workers
        self.batch, self.align_steps = arguments.batch, arguments.align_steps
        self.device = resolve_device(arguments.device).type
        model_cfg = {key: value for key, value in self.config["model_cfg"].items() if key != "custom_text"}
        self.large_side = model_cfg["vision_cfg"]["image_size"]
        self.labels = Labels(packs.concepts())
        self.vocabulary = Vocabulary(self.labels, model_cfg["text_cfg"]["context_length"])
        self.relevance = self.labels.relevance.to(self.device)
        torch.manual_seed(arguments.seed)
        student = Student(model_cfg, len(self.vocabulary.rows), len(self.labels.concepts))
        self.peak_rate = arguments.rate
        self.progress = Progress(warm=bool(arguments.warm_start))
        saved = load_checkpoint(self.out)
        if arguments.warm_start and not saved:
            self._start_from(student, load_file(arguments.warm_start))
        self.student = student.to(self.device, memory_format=torch.channels_last)
        self.average = AveragedModel(self.student, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE_DECAY), use_buffers=True)
        self.optimiser = _optimiser(self.student)
        self.out.mkdir(parents=True, exist_ok=True)
        if saved:
            self._resume(saved)
        self.studio = Studio(packs, (*STYLE_SHARES, UNSEEN_STYLE))
        self.exam = _exam(self.studio, self.large_side)

    @property
    def side(self) -> int:
        small = not self.progress.warm and self.progress.minutes < SMALL_SHARE * self.minutes
        return SMALL_SIDE if small else self.large_side

    def _start_from(self, student: Student, weights: dict[str, Tensor]) -> None:
        """Load exported weights; a concept's prototype is where its name lies."""
        rows = weights.pop("text.token_embedding.rows")
        if not np.array_equal(rows.numpy(), self.vocabulary.rows):
            raise SystemExit("not weights of this vocabulary: they know other tokens")
        weights["text.token_embedding.weight"] = weights.pop("text.token_embedding.values")
        student.clip.load_state_dict(weights)
        with torch.no_grad():
            tokens = self.labels.evaluation_tokens(self.vocabulary)
            student.prototypes.copy_(F.normalize(sum(student.eval().read(rows) for rows in tokens), dim=-1))
            student.log_scale.copy_(student.clip.logit_scale)

    def train(self) -> None:
        """Train until the minutes are used, saving and evaluating on the way."""
        progress, rng = self.progress, random.Random(self.progress.step)
        side, batches, shown = 0, iter(()), {"step": progress.step, "minutes": progress.minutes}
        saved = evaluated = progress.minutes
        started = time.monotonic() - 60 * progress.minutes
        while progress.minutes < self.minutes:
            if side != self.side:
                side, batches = self.side, self._batches(self.side)
            losses = self._step(*next(batches), rng)
            progress.minutes = (time.monotonic() - started) / 60
            if progress.step % 100 == 0:
                log(self.out, **_rates(progress, shown, self.batch), side=side, **losses)
                shown = {"step": progress.step, "minutes": progress.minutes}
            if progress.minutes - evaluated > EVALUATE_MINUTES:
                log(self.out, **self.evaluate())
                evaluated = progress.minutes
            if progress.minutes - saved > SAVE_MINUTES:
                self.save()
                saved = progress.minutes
        self.align_texts()
        self.save()
        log(self.out, **self.evaluate())

    def _batches(self, side: int) -> Iterator[tuple[Tensor, Tensor]]:
        source = CropBatches(self.studio, side, self.batch, seed=self.progress.step)
        return iter(DataLoader(source, batch_size=None, num_workers=self.workers))

    def _step(self, pixels: Tensor, concepts: Tensor, rng: random.Random) -> dict[str, float]:
        self.student.train()
        texts: list[Text] = self.labels.sample(concepts[: self.batch // PICTURES_PER_TEXT].tolist(), rng)
        tokens = self.vocabulary([text.words for text in texts]).to(self.device)
        relevance = self.relevance[[text.label for text in texts]]
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        with torch.autocast(self.device, torch.bfloat16):
            pictures, words = self.student(pixels.to(self.device), tokens)
        losses = self.student.losses(pictures, words, concepts.to(self.device), relevance)
        self.optimiser.zero_grad()
        sum(losses.values()).backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 2.0)
        self.optimiser.step()
        self.average.update_parameters(self.student)
        self.progress.step += 1
        self.progress.crops += self.batch
        logged = self.progress.step % 100 == 0
        return {name: round(loss.item(), 3) for name, loss in losses.items()} if logged else {}

    def _rate(self) -> float:
        used = self.progress.minutes
        warm = min(1.0, (used + 0.02) / WARMUP_MINUTES)
        return self.peak_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, used / self.minutes)))

    def align_texts(self) -> None:
        """Teach the averaged text tower alone to land on the prototypes that the pictures were trained on.

        Contrast only asks a text to be closer to its own pictures than to others. On the prototypes themselves it also
        inherits their distance from pictures of nothing, and their scale.
        """
        student, rng = self.average.module, random.Random(0)
        with torch.no_grad():
            student.clip.logit_scale.copy_(student.log_scale)
            targets = F.normalize(self.relevance @ F.normalize(student.prototypes, dim=-1), dim=-1)
        text = student.clip.text.train().requires_grad_(True)
        optimiser = torch.optim.AdamW(text.parameters(), lr=ALIGN_RATE, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, ALIGN_RATE, total_steps=self.align_steps)
        for step in range(self.align_steps):
            texts = self.labels.sample(rng.sample(range(len(self.labels.concepts)), self.batch // 2), rng)
            with torch.autocast(self.device, torch.bfloat16):
                words = student.read(self.vocabulary([text.words for text in texts]).to(self.device))
            loss = 1 - (words * targets[[text.label for text in texts]]).sum(-1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if step % 100 == 99:
                log(self.out, align=step + 1, distance=loss.item())
        text.eval().requires_grad_(False)

    @torch.inference_mode()
    def evaluate(self) -> dict:
        """Per style: share named rightly among 20 random names, among all, and among all by prototype."""
        student = self.average.module.eval()
        with torch.autocast(self.device, torch.bfloat16):
            tokens = self.labels.evaluation_tokens(self.vocabulary)
            names = F.normalize(sum(student.read(rows.to(self.device)) for rows in tokens), dim=-1)
            result = {"evaluation": self.progress.step, "minutes": round(self.progress.minutes, 1)}
            for style, (pixels, concepts) in self.exam.items():
                if self.side != self.large_side:
                    pixels = F.interpolate(pixels.float(), size=(self.side, self.side), mode="area")
                pictures = student.look(pixels.to(self.device)).cpu()
                of_20, of_all = _top1(pictures @ names.cpu().T, concepts)
                _, by_prototype = _top1(pictures @ F.normalize(student.prototypes, dim=-1).cpu().T, concepts)
                result[style] = [round(value, 3) for value in (of_20, of_all, by_prototype)]
        return result

    def save(self) -> None:
        """Write the state of the run, whole or not at all."""
        state = {
            "student": self.student.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "progress": asdict(self.progress),
            "rows": torch.from_numpy(self.vocabulary.rows),
        }
        save_checkpoint(self.out, state)

    def _resume(self, state: dict) -> None:
        self.student.load_state_dict(state["student"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.progress = Progress(**state["progress"])
        print(f"resuming at {self.progress}", flush=True)


def _optimiser(student: Student) -> torch.optim.Optimizer:
    decayed = [parameter for parameter in student.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in student.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, fused=True)


def _exam(studio: Studio, side: int) -> dict[str, tuple[Tensor, Tensor]]:
    """The same lightly altered crops every time, per style: N 3 S S uint8 and their concepts N."""
    exam, rng = {}, random.Random("exam")
    for style, drawings in studio.drawings.items():
        codes = rng.sample(sorted(drawings), min(EVALUATION_CROPS, len(drawings)))
        crops = [torch.from_numpy(studio.crop(style, code, side, MILD, rng)) for code in codes]
        concepts = torch.tensor([studio.codes.index(code) for code in codes])
        exam[style] = torch.stack(crops).permute(0, 3, 1, 2), concepts
    return exam


def _top1(scores: Tensor, right: Tensor) -> tuple[float, float]:
    """Scores N C -> the expected top-1 among the right name and 19 random others, and among all C."""
    beaten_by = (scores > scores.gather(1, right[:, None])).sum(1)
    share_below = 1 - beaten_by / (scores.shape[1] - 1)
    return (share_below**19).mean().item(), (beaten_by == 0).float().mean().item()


def _rates(progress: Progress, shown: dict, batch: int) -> dict:
    seconds = 60 * (progress.minutes - shown["minutes"])
    speed = round(batch * (progress.step - shown["step"]) / max(seconds, 1e-6))
    return {"step": progress.step, "minutes": round(progress.minutes, 2), "crops_per_second": speed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_packs_argument(parser)
    add_run_arguments(parser, out="training/runs/clip", minutes=110)
    parser.add_argument("--workers", type=int, default=0, help="processes that make crops (0: in this one)")
    parser.add_argument("--batch", type=int, default=192, help="crops a step, all of distinct concepts")
    parser.add_argument("--rate", type=float, default=PEAK_RATE, help="highest learning rate")
    parser.add_argument(
        "--warm-start", type=Path, metavar="FILE", help="warm start from exported weights: no small crops first"
    )
    parser.add_argument("--align-steps", type=int, default=2000, help="steps that align the texts at the end")
    parser.add_argument("--export", type=Path, metavar="FILE", help="write the run's averaged weights and stop")
    arguments = parser.parse_args()
    if arguments.export:
        export(arguments.out, arguments.export)
        return export_general_vocabulary([concept.name for concept in arguments.packs.concepts()])
    cv2.setNumThreads(0)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    Trainer(arguments).train()


if __name__ == "__main__":
    main()
