"""The text tower of the tiny CLIP: it learns to say for any English noun where the joint space wants it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from open_clip import OPENAI_IMAGENET_TEMPLATES, SimpleTokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from segzs.clip.networks.tiny import open_clip_text_tower
from training.words import plural

TEMPLATES = (
    "a {}",
    "the {}",
    "a photo of a {}",
    "a photo of a {}.",
    "a photo of {}",
    "a picture of a {}",
)
DRAWN = ("an icon of a {}", "a drawing of a {}", "clip art of a {}", "an emoji of a {}", "a drawing of {}")
ADJECTIVES = [
    "red",
    "blue",
    "green",
    "yellow",
    "black",
    "white",
    "brown",
    "grey",
    "orange",
    "pink",
    "purple",
    "big",
    "small",
    "large",
    "little",
    "old",
    "new",
    "young",
    "tall",
    "short",
    "wooden",
    "metal",
    "plastic",
    "glass",
    "round",
    "square",
    "empty",
    "full",
    "open",
    "closed",
    "broken",
    "dirty",
    "clean",
    "shiny",
    "dark",
    "bright",
    "wet",
    "dry",
    "cute",
    "beautiful",
    "blurry",
    "colorful",
    "striped",
    "modern",
    "ancient",
]
BARE, CLIP_TEMPLATES, PLURAL, ADJECTIVE = 0.45, 0.15, 0.12, 0.12
WITHIN = 0.15
"""How much the likeness of texts among each other counts beside that with their targets."""
RATE, WEIGHT_DECAY = 2e-3, 0.01


class Reader:
    """The tokenizer, over only the tokens that training sees, in their order: the end of text stays the largest.

    Pieces of words get a row if they are in ``rare`` names or more, or in one of ``important``.
    """

    def __init__(self, names: Sequence[str], length: int, rare: int = 1, important: Iterable[str] = ()) -> None:
        self.tokenizer = SimpleTokenizer(context_length=length)
        whole = {token for piece, token in self.tokenizer.encoder.items() if piece.endswith("</w>")}
        counts = Counter(token for name in names for token in set(self.tokenizer.encode(name)))
        counts.update(token for name in names for token in set(self.tokenizer.encode(plural(name))) & whole)
        seen = {token for token, count in counts.items() if token in whole or count >= rare}
        seen |= {0, self.tokenizer.sot_token_id, self.tokenizer.eot_token_id}
        for name in important:
            seen.update(self.tokenizer.encode(name))
        sentences = [template.format("") for template in (*TEMPLATES, *DRAWN)]
        sentences += [template("") for template in OPENAI_IMAGENET_TEMPLATES]
        for text in (*ADJECTIVES, *sentences):
            seen.update(self.tokenizer.encode(text))
        self.rows = np.array(sorted(seen))

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Texts -> rows of the table, as long as the longest."""
        tokens = self.tokenizer(list(texts)).numpy()
        longest = int(tokens.argmax(1).max()) + 1
        rows = np.searchsorted(self.rows, tokens[:, :longest])
        return torch.from_numpy(np.where(self.rows[rows] == tokens[:, :longest], rows, 0))


def sentence(name: str, rng: random.Random) -> str:
    """A name as people write it."""
    draw = rng.random()
    if draw < PLURAL:
        name = plural(name)
    elif draw < PLURAL + ADJECTIVE:
        name = f"{rng.choice(ADJECTIVES)} {name}"
    draw = rng.random()
    if draw < BARE:
        return name
    if draw < BARE + CLIP_TEMPLATES:
        return rng.choice(OPENAI_IMAGENET_TEMPLATES)(name)
    return rng.choice(TEMPLATES + DRAWN).format(name)


class TextStudent(nn.Module):
    """open_clip's text tower over the rows of a `Reader`."""

    def __init__(self, width: int, config: dict, rows: int) -> None:
        super().__init__()
        self.tower = open_clip_text_tower(width, {**config, "vocab_size": rows})
        del self.tower.attn_mask

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        self.tower.attn_mask = torch.full((length, length), float("-inf"), device=tokens.device).triu(1)
        return F.normalize(self.tower(tokens).float(), dim=-1)

    @torch.no_grad()
    def start_from(self, reader: Reader, names: Sequence[str], targets: Tensor) -> None:
        """Begin where a text is the mean of its tokens, and a token that of the targets of names that contain it."""
        tower = self.tower
        width = tower.token_embedding.weight.shape[1]
        basis = torch.linalg.svd(targets[:: max(1, len(targets) // 8000)], full_matrices=False)[2][:width]
        total, count = torch.zeros(len(reader.rows), targets.shape[1]), torch.zeros(len(reader.rows), 1)
        index = {token: row for row, token in enumerate(reader.rows.tolist())}
        for name, target in zip(names, targets, strict=True):
            tokens = [index[token] for token in reader.tokenizer.encode(name) if token in index]
            if not tokens:
                continue
            total[tokens] += target / len(tokens) ** 2
            count[tokens] += 1 / len(tokens) ** 2
        table = F.normalize(total / count.clamp_min(1e-6), dim=-1) @ basis.T
        tower.token_embedding.weight.copy_(table + 0.01 * torch.randn_like(table))
        tower.token_embedding.weight[-1] = 0  # the end of text, where the answer is read
        tower.positional_embedding.mul_(0.1)
        attention = tower.transformer.resblocks[0].attn
        queries_keys, same = attention.in_proj_weight[: 2 * width] * 0.1, torch.eye(width)
        attention.in_proj_weight.copy_(torch.cat([queries_keys, same]))
        attention.out_proj.weight.copy_(same)
        tower.text_projection.copy_(basis)


def distil(texts: Tensor, targets: Tensor) -> Tensor:
    """How far texts are from their targets, each and among each other."""
    apart = 1 - (texts * targets).sum(1)
    within = (texts @ texts.T - targets @ targets.T).square().mean() * len(texts) ** 0.5
    return apart.mean() + WITHIN * within
