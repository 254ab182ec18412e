"""What the tiny CLIP's training does with features and words, without the packages that it starts from."""

import random

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from training.heads import drawing_prototypes, mixed, train_gate
from training.text import Reader, TextStudent, distil, sentence
from training.words import MEANT, plural, singulars

pytestmark = pytest.mark.slow

CONFIG = {"context_length": 24, "width": 32, "heads": 2, "layers": 1}


def test_the_reader_keeps_whole_words_and_the_end_of_text() -> None:
    reader = Reader(["cat", "hot dog"], 24)
    rows = reader(["a photo of a hot dog", "cats"])
    tokens = reader.rows[rows.numpy()]
    np.testing.assert_array_equal(tokens[0], reader.tokenizer(["a photo of a hot dog"])[0, : rows.shape[1]])
    assert rows.max() == len(reader.rows) - 1 == rows[0, -1]


def test_sentences_hold_the_name() -> None:
    rng = random.Random(0)
    made = {sentence("mug", rng) for _ in range(300)}
    assert all("mug" in text for text in made)
    assert {"mug", "mugs"} <= made
    assert len(made) > 60


@pytest.mark.parametrize(
    ("one", "many"), [("box", "boxes"), ("cherry", "cherries"), ("fireman", "firemen"), ("cup", "cups")]
)
def test_plurals_and_back(one: str, many: str) -> None:
    assert plural(one) == many
    assert one in singulars(many)


def test_a_text_starts_near_the_targets_of_its_words_and_gets_nearer() -> None:
    names = [
        "cat",
        "dog",
        "car",
        "bus",
        "pear",
        "cup",
        "mug",
        "tree",
        "sky",
        "sea",
        "boat",
        "hat",
        "shoe",
        "bird",
        "ant",
        "owl",
    ]
    targets = F.normalize(torch.randn(16, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    reader = Reader(names, 24)
    torch.manual_seed(0)
    student = TextStudent(16, {**CONFIG, "width": 16}, len(reader.rows))
    student.start_from(reader, names, targets)
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = distil(student(reader(names)), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] < 1.2
    assert losses[-1] < 0.4 * losses[0]


def test_the_gate_tells_two_kinds_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    photographs, drawings = torch.randn(300, 20, generator=generator), torch.randn(50, 20, generator=generator)
    drawings[:, 3] += 8
    gate = train_gate(photographs, drawings)
    assert ((drawings @ gate.weight + gate.bias) > 0).float().mean() > 0.95
    assert ((photographs @ gate.weight + gate.bias) < 0).float().mean() > 0.95


def test_views_are_mixed_as_naming_does() -> None:
    keep, grey, dense = torch.eye(3)
    seen = mixed({"keep": keep, "grey": grey, "dense": dense})
    torch.testing.assert_close(seen[4], (grey + dense) / 2)
    assert len(mixed({"keep": keep})) == 1


def test_prototypes_are_where_drawings_lie() -> None:
    features = torch.eye(4).repeat(3, 1) + 0.1 * torch.rand(12, 4, generator=torch.Generator().manual_seed(0))
    positions, basis = drawing_prototypes(features, [0, 1, 2, 3] * 3, 4)
    nearest = (F.normalize(F.normalize(features, dim=-1) @ basis, dim=-1) @ positions.T).argmax(1)
    assert nearest.tolist() == [0, 1, 2, 3] * 3


def test_meant_words_are_pairs() -> None:
    assert MEANT["smartphone"] == "cellular telephone"
    assert all(word and meaning and word != meaning for word, meaning in MEANT.items())
