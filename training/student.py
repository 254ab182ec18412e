"""The tiny CLIP while it learns: the model with its concept prototypes, its losses, and its exported form."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from open_clip import CustomTextCLIP
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from segzs.checkpoints.locate import EMBEDDED_CLIP, ClipFiles, read_config
from segzs.checkpoints.registry import CLIPS
from segzs.clip.model import load_clip
from segzs.clip.text_features import encode_vocabulary, general_vocabulary
from segzs.settings import embedded_folder
from training.run import half_precision, load_checkpoint


class Student(nn.Module):
    """The CLIP and, for training only, one learned direction a concept, met by its pictures and texts."""

    def __init__(self, model_cfg: dict, vocabulary_size: int, concepts: int) -> None:
        super().__init__()
        text_cfg = {**model_cfg["text_cfg"], "vocab_size": vocabulary_size}
        self.clip = CustomTextCLIP(**{**model_cfg, "text_cfg": text_cfg})
        del self.clip.text.attn_mask
        self.prototypes = nn.Parameter(torch.randn(concepts, model_cfg["embed_dim"]))
        self.log_scale = nn.Parameter(torch.tensor(math.log(16.0)))

    def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """B 3 S S in 0..255 and T L -> unit vectors B D and T D."""
        return self.look(pixels), self.read(tokens)

    def look(self, pixels: Tensor) -> Tensor:
        return F.normalize(self.clip.encode_image(pixels.float() / 127.5 - 1).float(), dim=-1)

    def read(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        causal = torch.full((length, length), float("-inf"), device=tokens.device)
        self.clip.text.attn_mask = causal.triu(1)
        return F.normalize(self.clip.encode_text(tokens).float(), dim=-1)

    def losses(self, pictures: Tensor, texts: Tensor, concepts: Tensor, relevance: Tensor) -> dict[str, Tensor]:
        """Pictures B D of concepts B (-1: nothing) and texts T D, whose relevance T C says which concepts they fit.

        ImageList of nothing shall be equally far from every concept, so that what is foreign looks foreign.
        """
        prototypes = F.normalize(self.prototypes, dim=-1) * self.log_scale.clamp(max=math.log(64)).exp()
        known = concepts >= 0
        nothing = (pictures[~known] @ prototypes.T).log_softmax(-1)
        pictures, concepts = pictures[known], concepts[known]
        pairs = pictures @ texts.T * self.clip.logit_scale.clamp(max=math.log(64)).exp()
        fit = relevance[:, concepts]
        return {
            "picture": F.cross_entropy(pictures @ prototypes.T, concepts, label_smoothing=0.1),
            "nothing": -0.15 * nothing.mean() if len(nothing) else pictures.new_zeros(()),
            "text": 0.5 * _soft_cross_entropy(texts @ prototypes.T, relevance),
            "pair": 0.6 * _soft_cross_entropy(pairs, fit.T) + 0.3 * _soft_cross_entropy(pairs.T, fit),
        }


def _soft_cross_entropy(logits: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy N against rows of unnormalised target weights; rows without a target are left out."""
    total = weights.sum(1)
    chosen = total > 0
    target = weights[chosen] / total[chosen, None]
    return -(target * F.log_softmax(logits[chosen], dim=1)).sum(1).mean()


def export(run: Path, file: Path) -> None:
    """Write a run's averaged weights in half precision, with only the vocabulary rows that training saw."""
    state = load_checkpoint(run)
    if state is None:
        raise SystemExit(f"no checkpoint in {run}: train first")
    prefix, table = "module.clip.", "text.token_embedding.weight"
    averaged = {k.removeprefix(prefix): v for k, v in state["average"].items() if k.startswith(prefix)}
    weights = half_precision(averaged)
    weights["text.token_embedding.values"] = weights.pop(table)
    weights["text.token_embedding.rows"] = state["rows"]
    progress = state["progress"]
    metadata = {
        "model": "segzs tiny CLIP",
        "licence": "Apache-2.0",
        **{k: str(v) for k, v in progress.items()},
    }
    save_file(weights, file, metadata)
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB after {progress['crops']:,} crops")


def export_general_vocabulary(names: list[str]) -> None:
    """Write the names that the exported CLIP was trained on and their text features, which take seconds to make."""
    folder = embedded_folder()
    config, weights = (folder / name for name in EMBEDDED_CLIP)
    clip = load_clip(ClipFiles(CLIPS["tiny"], read_config(config), weights, folder))
    (folder / f"{clip.spec.general}.txt").write_text("\n".join(names) + "\n", "utf-8")
    vocabulary = general_vocabulary(clip)
    features = encode_vocabulary(clip, vocabulary).half()
    metadata = {"weights": clip.digest, "vocabulary": vocabulary.digest}
    save_file({"features": features}, folder / f"{clip.spec.general}.safetensors", metadata)
