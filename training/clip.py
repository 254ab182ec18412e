"""Train the tiny CLIP: ``python -m training.clip --inputs INPUTS``. Run it again to go on where it stopped.

The trunks are not trained: that for photographs is EfficientNet-Lite0 with ImageNet's weights, that for drawings comes
from an earlier checkpoint. Their features are computed once; what is learned from them takes minutes, but for the text
tower. ``training/pretrained.py`` says how INPUTS is filled.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch
from open_clip import IMAGENET_CLASSNAMES, SimpleTokenizer
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from segzs.checkpoints.locate import EMBEDDED_CLIP, ClipFiles, read_config
from segzs.checkpoints.registry import CLIPS
from segzs.clip.model import load_clip
from segzs.clip.networks.compact import compacted, expanded
from segzs.clip.text_features import encode_vocabulary, general_vocabulary
from segzs.clip.vocabulary import Vocabulary
from segzs.settings import embedded_folder
from training.heads import Gate, Photographs, drawing_prototypes, mixed, train_gate, train_photographs
from training.joint import DRAWN_WEIGHT, SEEN, Classes, Targets
from training.packs import Packs, add_packs_argument
from training.pictures import Eye, Views, drawn, labelled
from training.pretrained import efficientnet_lite
from training.run import autocast, load_checkpoint, log, resolve_device, save_checkpoint
from training.text import RATE, WEIGHT_DECAY, Reader, TextStudent, distil, sentence
from training.words import MEANT, Lexicon

DRAWING_TRUNK = "visual.drawings."
REPEATS = 6
"""How often each drawing is cropped."""
KEYWORD_CONCEPTS = 6
"""A keyword of more concepts than these says little of what is drawn."""
ACROSS = 0.06
"""The length of what a drawing has in the first two parts of the joint space, for one in its own part."""
LOGIT_SCALE = 25.0
DRAWN, IMPORTANT, FREQUENT = 100.0, 12.0, 5.0
"""How much more often names are read that were drawn, those of lists, and nouns that are one token."""
RARE = 3
"""Pieces of words that are in fewer names get no row in the table."""
EQUAL_LENGTHS = 5.0
"""How much it counts that the drawn parts of all names are equally long; a longer one wins against a nearer one."""
BATCH, SAVE_EVERY = 512, 200


@dataclass(frozen=True)
class Run:
    """One training run: its folder, in which each step leaves what it made, and what it reads."""

    out: Path
    inputs: Path
    packs: Packs
    drawings: Path
    device: torch.device

    def kept(self, name: str, make: Callable[[], Any]) -> Any:
        """What ``make`` returns, read from the run folder where an earlier run has left it."""
        file = self.out / f"{name}.pt"
        if not file.exists():
            print(f"making {name}", flush=True)
            value = make()
            self.out.mkdir(parents=True, exist_ok=True)
            torch.save(value, file)
        return torch.load(file, weights_only=False)

    @cached_property
    def config(self) -> dict:
        return json.loads((embedded_folder() / "tiny_clip.json").read_text())["model_cfg"]

    @cached_property
    def classes(self) -> Classes:
        return Classes(efficientnet_lite(self.inputs, 0), Lexicon(self.inputs))

    @cached_property
    def photographs(self) -> Photographs:
        def make() -> Photographs:
            views = self.views
            return train_photographs(self.classes, views, self.classes.lexicon.of_names(sorted(set(views.names))))

        return self.kept("photographs", make)

    @cached_property
    def views(self) -> Views:
        return self.kept("views", lambda: labelled(Eye(self.classes.trunk, self.device), self.packs))

    @cached_property
    def drawing_weights(self) -> dict[str, Tensor]:
        weights = expanded(load_file(self.drawings))
        return {name: value.float() for name, value in weights.items() if name.startswith(DRAWING_TRUNK)}

    @cached_property
    def drawn(self) -> tuple[Tensor, Tensor, list[int]]:
        """Of crops of drawings, features of both trunks, and their concepts."""
        return self.kept("drawn", self._see_drawings)

    def _see_drawings(self) -> tuple[Tensor, Tensor, list[int]]:
        vision = self.config["vision_cfg"]
        trunk = timm.create_model(vision["drawing_trunk"], num_classes=0).eval().requires_grad_(False)
        trunk.load_state_dict({k.removeprefix(DRAWING_TRUNK): v for k, v in self.drawing_weights.items()})
        trunk.to(self.device)
        eye, side = Eye(self.classes.trunk, self.device), vision["drawing_side"]
        row_of = {concept.code: row for row, concept in enumerate(self.packs.concepts())}
        features, means, concepts = [], [], []
        batch: list[np.ndarray] = []
        for code, crop in drawn(self.packs, REPEATS):
            batch.append(crop)
            concepts.append(row_of[code])
            if len(batch) == 32:
                features.append(_seen_by(trunk, batch, side, self.device))
                if len(means) < 2 * len(row_of) * 3 // 32:  # the gate needs no more
                    means.append(eye.maps(np.stack(batch)).mean((2, 3)).half())
                batch.clear()
        return torch.cat(features), torch.cat(means), concepts[: 32 * len(features)]

    @cached_property
    def prototypes(self) -> tuple[Tensor, Tensor]:
        features, _, concepts = self.drawn
        return drawing_prototypes(features, concepts, len(self.packs.concepts()))

    @cached_property
    def gate(self) -> Gate:
        photographs = torch.cat([mixed(each) for each in self.views.features])
        return self.kept("gate", lambda: train_gate(photographs, self.drawn[1]))

    @cached_property
    def targets(self) -> Targets:
        lexicon = self.classes.lexicon
        names = [concept.name for concept in self.packs.concepts()]
        places = list(self.prototypes[0])
        concepts_of: dict[str, list[int]] = defaultdict(list)
        for row, concept in enumerate(self.packs.concepts()):
            for keyword in concept.keywords:
                concepts_of[keyword].append(row)
        for keyword, rows in concepts_of.items():
            if keyword not in set(names) and len(rows) <= KEYWORD_CONCEPTS:
                names.append(keyword)
                places.append(F.normalize(sum(places[row] for row in rows), dim=0))
        photographed = lexicon.of_names(self.photographs.names)
        return Targets(
            self.classes, photographed, self.photographs.shifts, lexicon.of_names(names), torch.stack(places)
        )

    @cached_property
    def important(self) -> set[str]:
        """The names of lists, which people are likeliest to ask for."""
        built_in = (Vocabulary.imagenet(), Vocabulary.coco(), Vocabulary.ade20k(), Vocabulary.everyday())
        lists = (label for vocabulary in built_in for label in vocabulary.labels)
        general = (embedded_folder() / "tiny_labels.txt").read_text().splitlines()
        return {*lists, *general, *IMAGENET_CLASSNAMES, *MEANT, *self.photographs.names, *self.targets.drawn.names}

    @cached_property
    def texts(self) -> tuple[list[str], Tensor]:
        """All names that the text tower learns, and their targets."""

        def make() -> tuple[list[str], Tensor]:
            lexicon = self.classes.lexicon
            nouns = [
                noun
                for noun, senses in lexicon.wordnet.senses.items()
                if any(map(lexicon.visible, senses)) and re.fullmatch(r"[a-z][a-z '.-]*", noun)
            ]
            whole = (piece.removesuffix("</w>") for piece in SimpleTokenizer().encoder if piece.endswith("</w>"))
            words = (word for word in whole if re.fullmatch(r"[a-z]{2,}", word))
            names = list(dict.fromkeys([*sorted(self.important), *nouns, *words]))
            return names, self.targets.of(lexicon.of_names(names)).half()

        return self.kept("texts", make)


def _seen_by(trunk: torch.nn.Module, crops: Sequence[np.ndarray], side: int, device: torch.device) -> Tensor:
    """Features of the drawing trunk of square crops, as float16 (N, channels)."""
    small = np.stack([cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA) for crop in crops])
    pictures = torch.from_numpy(small).to(device).permute(0, 3, 1, 2)
    with torch.inference_mode(), autocast(device):
        return trunk((pictures.float() - 127) / 128).float().cpu().half()


def train_texts(run: Run, steps: int) -> tuple[Reader, TextStudent]:
    """The text tower after so many steps; a stopped one goes on where it was."""
    names, targets = run.texts
    targets, text = targets.float(), run.config["text_cfg"]
    reader = Reader(names, text["context_length"], RARE, run.important)
    torch.manual_seed(0)
    student = TextStudent(run.config["embed_dim"], text, len(reader.rows))
    optimiser = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    first = 0
    if state := load_checkpoint(run.out):
        student.load_state_dict(state["student"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        first = state["step"]
    else:
        student.start_from(reader, names, targets)
    student.train().to(run.device)
    weights, rng = _weights(run, names), random.Random(first)
    for step in range(first, steps):
        chosen = torch.multinomial(weights, BATCH, replacement=True)
        tokens = reader([sentence(names[row], rng) for row in chosen.tolist()])
        with autocast(run.device):
            texts = student(tokens.to(run.device))
        lengths = texts[:, SEEN:].norm(dim=1) - DRAWN_WEIGHT
        loss = distil(texts, targets[chosen].to(run.device)) + EQUAL_LENGTHS * lengths.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            parts = {"student": student, "optimiser": optimiser, "schedule": schedule}
            save_checkpoint(run.out, {name: part.state_dict() for name, part in parts.items()} | {"step": step + 1})
            log(run.out, step=step + 1, loss=loss.item())
    return reader, student.eval().cpu()


def _weights(run: Run, names: Sequence[str]) -> Tensor:
    tokens, nouns = SimpleTokenizer().encoder, run.classes.lexicon.wordnet.senses
    frequent = (FREQUENT if f"{name}</w>" in tokens and name in nouns else 1.0 for name in names)
    weights = [IMPORTANT if name in run.important else w for name, w in zip(names, frequent, strict=True)]
    drawn = {concept.name for concept in run.packs.concepts()}
    return torch.tensor([DRAWN if name in drawn else weight for name, weight in zip(names, weights, strict=True)])


def assembled(run: Run, reader: Reader, student: TextStudent) -> dict[str, Tensor]:
    """The weights of the tiny CLIP."""
    classes, photographs = run.classes, run.photographs
    trunk = classes.trunk.state_dict()
    weights = {f"visual.photographs.{k}": v for k, v in trunk.items() if not k.startswith("classifier.")}
    head = "visual.photograph_head."
    weights[f"{head}direct.weight"], weights[f"{head}direct.bias"] = classes.direct.T, -(classes.usual @ classes.direct)
    weights[f"{head}classes.weight"], weights[f"{head}classes.bias"] = (
        trunk["classifier.weight"],
        trunk["classifier.bias"],
    )
    weights[f"{head}meaning.weight"] = classes.meaning_of(classes.anchors).T
    weights[f"{head}correction.weight"] = photographs.correction.T
    weights[f"{head}correction.bias"] = -(classes.usual @ photographs.correction)
    weights |= run.drawing_weights
    weights["visual.drawing_head.weight"] = _drawing_head(run)
    weights["visual.gate.weight"], weights["visual.gate.bias"] = run.gate.weight[None], run.gate.bias
    weights |= {k.replace("tower.", "text.", 1): v for k, v in student.state_dict().items()}
    weights["text.token_embedding.values"] = weights.pop("text.token_embedding.weight")
    small = compacted(weights)
    small["text.token_embedding.rows"] = torch.from_numpy(reader.rows).int()
    small["logit_scale"] = torch.tensor(LOGIT_SCALE).log()
    return small


def _drawing_head(run: Run) -> Tensor:
    """The linear map (512, channels) of the drawing trunk's features into the joint space."""
    features, _, concepts = run.drawn
    _, basis = run.prototypes
    names = [concept.name for concept in run.packs.concepts()]
    wanted = F.normalize(run.targets.of(run.classes.lexicon.of_names(names))[:, :SEEN], dim=-1)[concepts]
    unit = F.normalize(features.float(), dim=-1)
    places = F.normalize(unit @ basis, dim=-1)
    solved = torch.linalg.solve(places.T @ places + len(places) * 1e-3 * torch.eye(places.shape[1]), places.T @ wanted)
    scale = ACROSS / (places @ solved).norm(dim=1).mean()
    return torch.cat([scale * solved.T, torch.eye(basis.shape[1])]) @ basis.T


def export_general_features() -> None:
    """Write the text features of the general vocabulary, which take seconds to make."""
    folder = embedded_folder()
    config, weights = (folder / name for name in EMBEDDED_CLIP)
    clip = load_clip(ClipFiles(CLIPS["tiny"], read_config(config), weights, folder))
    vocabulary = general_vocabulary(clip)
    metadata = {"weights": clip.digest, "vocabulary": vocabulary.digest}
    features = encode_vocabulary(clip, vocabulary).half()
    save_file({"features": features}, folder / f"{clip.spec.general}.safetensors", metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_packs_argument(parser)
    parser.add_argument("--inputs", type=Path, required=True, metavar="DIR", help="folder of the pretrained packages")
    parser.add_argument("--out", type=Path, default=Path("training/runs/clip"), metavar="DIR", help="run folder")
    parser.add_argument(
        "--drawings",
        type=Path,
        default=embedded_folder() / EMBEDDED_CLIP[1],
        metavar="FILE",
        help="checkpoint with the trunk for drawings (default: the embedded one)",
    )
    parser.add_argument("--steps", type=int, default=3000, help="steps of the text tower")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: all)")
    parser.add_argument("--export", action="store_true", help="write the embedded files when all is trained")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = resolve_device(arguments.device)
    run = Run(arguments.out, arguments.inputs, arguments.packs, arguments.drawings, device)
    weights = assembled(run, *train_texts(run, arguments.steps))
    file = arguments.out / EMBEDDED_CLIP[1]
    save_file(weights, file, {"model": "segzs tiny CLIP", "licence": "Apache-2.0"})
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")
    if arguments.export:
        (embedded_folder() / EMBEDDED_CLIP[1]).write_bytes(file.read_bytes())
        export_general_features()


if __name__ == "__main__":
    main()
