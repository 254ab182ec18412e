"""Ways to tell "unknown", compared on fresh scenes: ``python -m training.unknown``.

Half of the labels of a scene are taken away, and what they named should be called "unknown"; and pieces of the
background are named with every label of the general vocabulary alone, which should never have more than one half.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

import segzs
from segzs.clip.classifier import ZeroShotClassifier
from segzs.clip.crops import crops
from segzs.clip.image_features import encode_images
from segzs.clip.negatives import NegativeLabels, negative_labels
from segzs.clip.text_features import general_features
from segzs.clip.vocabulary import Vocabulary
from segzs.masks import RLE
from training.evaluate import FEW_LABELS, HEIGHT, SMALLEST_VISIBLE, WIDTH, markdown
from training.packs import TRAINING_STYLES, UNSEEN_STYLE, Packs, add_packs_argument
from training.prompts import visible_labels
from training.scenes import MEASURED, Compositor

PATCHES = 6
SHOWN = 8
Namers = Callable[[Tensor, Tensor], ZeroShotClassifier]
"""From rows of labels and rows of labels that are hidden from the contrast words to what names with them."""
Way = Callable[[Tensor, ZeroShotClassifier], Tensor]
"""How much speaks for "unknown" with features (N, width): the larger, the more; above 0 the name is "unknown"."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Image features of one scene: of its objects, whose labels are ``right``, and of pieces of its background."""

    objects: Tensor
    right: Tensor
    background: Tensor


def pieces(instances: np.ndarray, rng: np.random.Generator) -> list[RLE]:
    """Boxes and ellipses of 8-50 % of the short side, on the background but for up to a fifth of them."""
    height, width = instances.shape
    result: list[RLE] = []
    for _ in range(200):
        canvas = np.zeros((height, width), np.uint8)
        a, b = np.exp(rng.uniform(np.log(0.04), np.log(0.25), 2)) * height
        x, y = rng.uniform(a, width - a), rng.uniform(b, height - b)
        if rng.random() < 0.5:
            cv2.ellipse(canvas, ((x, y), (2 * a, 2 * b), rng.uniform(0, 180)), 1, -1)
        else:
            cv2.rectangle(canvas, (int(x - a), int(y - b)), (int(x + a), int(y + b)), 1, -1)
        free = (canvas > 0) & (instances == 0)
        if free.sum() >= max(SMALLEST_VISIBLE, 0.8 * canvas.sum()):
            result.append(RLE.encode(free))
        if len(result) == PATCHES:
            break
    return result


def look(segmenter: segzs.Segmenter, packs: Packs, styles: tuple[str, ...], count: int, seed: int) -> list[Seen]:
    """What CLIP sees of the true masks of fresh scenes."""
    compositor = Compositor(packs, replace(MEASURED, styles=styles), np.random.default_rng([5, seed, len(styles)]))
    row_of = {concept.code: index for index, concept in enumerate(packs.concepts())}
    rng, seen = np.random.default_rng([6, seed]), []
    for _ in range(count):
        scene = compositor.scene(HEIGHT, WIDTH)
        labels = visible_labels(scene.instances, SMALLEST_VISIBLE)
        masks = [RLE.encode(scene.instances == label) for label in labels] + pieces(scene.instances, rng)
        features = encode_images(segmenter.clip, crops(scene.pixels, masks, segmenter.region_encoder.cropping))
        right = torch.tensor([row_of[scene.codes[label - 1] or ""] for label in labels])
        seen.append(Seen(features[: len(labels)], right, features[len(labels) :]))
    return seen


def ways(unknown: float) -> dict[str, Way]:
    """The product's own (calibrated) and its rivals; those without a threshold of their own are only ranked."""

    def logits(features: Tensor, classifier: ZeroShotClassifier) -> Tensor:
        return classifier.clip.logit_scale * classifier.similarity(features)

    def calibrated(features: Tensor, classifier: ZeroShotClassifier) -> Tensor:
        shares = classifier.probabilities(features)
        return shares[:, -1] - shares[:, :-1].amax(1)

    def fixed(features: Tensor, classifier: ZeroShotClassifier) -> Tensor:
        nothing = classifier.text_features[:0]
        return calibrated(features, replace(classifier, negatives=NegativeLabels(nothing, nothing, 1.0, unknown)))

    def margin(features: Tensor, classifier: ZeroShotClassifier) -> Tensor:
        best = logits(features, classifier).topk(2, 1).values
        return best[:, 1] - best[:, 0]

    def heavier(times: int) -> Way:
        def way(features: Tensor, classifier: ZeroShotClassifier) -> Tensor:
            negatives = classifier.negatives
            assert negatives is not None
            heavy = replace(negatives, weight=times * negatives.weight)
            return calibrated(features, replace(classifier, negatives=heavy))

        return way

    return {
        "contrast words": calibrated,
        "4 times as heavy": heavier(4),
        "16 times": heavier(16),
        f"fixed cosine {unknown:g}": fixed,
        "energy": lambda features, classifier: -logits(features, classifier).logsumexp(1),
        "margin": margin,
    }


def without(classifier: ZeroShotClassifier, hidden: Tensor) -> ZeroShotClassifier:
    """The same without some of its contrast words, given by their features (K, width)."""
    negatives = classifier.negatives
    if negatives is None or not len(hidden):
        return classifier
    removed = (negatives.general[:, None] == hidden).all(-1).any(1)
    return replace(classifier, negatives=replace(negatives, general=negatives.general[~removed]))


def auroc(unknown: list[float], labelled: list[float]) -> float:
    """The chance that something unknown scores higher than something labelled, ties counting half."""
    ordered = np.sort(labelled)
    below = np.searchsorted(ordered, unknown, "left") + np.searchsorted(ordered, unknown, "right")
    return float(below.mean() / 2 / len(labelled))


def measure(
    namers: Namers, seen: list[Seen], way: Way, labels: int, size: int, *, thresholds: bool = True, blind: bool = False
) -> dict[str, float]:
    """Figures of one way with lists of ``size`` of the labels, half of a scene's among them; 0: those alone.

    ``blind``: the absent labels are not among the contrast words either, as with objects that have no general word.
    """
    rng = np.random.default_rng(0)
    unknown, labelled, right = [], [], []
    for scene in seen:
        own = rng.permutation(scene.right.unique().numpy())
        kept = own[: max(2, len(own) // 2)]
        others = rng.permutation(np.setdiff1d(np.arange(labels), own))[: max(size - len(kept), 0)]
        chosen = torch.from_numpy(np.concatenate([kept, others]))
        classifier = namers(chosen, torch.from_numpy(own[len(kept) :] if blind else own[:0]))
        scores, there = way(scene.objects, classifier), torch.isin(scene.right, chosen)
        unknown += scores[~there].tolist()
        labelled += scores[there].tolist()
        named = chosen[classifier.similarity(scene.objects).argmax(1)] == scene.right
        right += (named & (scores < 0))[there].tolist()
    kind = f"{size} labels" if size else "half of the scene's labels"
    figures = {f"{kind}: AUROC": auroc(unknown, labelled)}
    if thresholds:
        figures[f'{kind}: absent ones called "unknown"'] = float((np.array(unknown) > 0).mean())
        figures[f"{kind}: present ones named right"] = float(np.mean(right))
    return figures


def most_mistaken(namers: Namers, seen: list[Seen], names: Sequence[str]) -> list[tuple[str, int]]:
    """The labels that, each alone, name most pieces of the background, and of how many."""
    background, none = torch.cat([s.background for s in seen]), torch.zeros(0, dtype=torch.long)
    namers_alone = (namers(torch.tensor([row]), none) for row in range(len(names)))
    decisions = [int((classifier.probabilities(background)[:, 0] > 0.5).sum()) for classifier in namers_alone]
    return [(names[i], decisions[i]) for i in np.argsort(decisions)[::-1][:SHOWN].tolist()]


def measure_alone(namers: Namers, seen: list[Seen], tried: dict[str, Way], labels: int) -> dict:
    """How often one label alone names with more than one half: of the background, and of what it names."""
    features, background = torch.cat([s.objects for s in seen]), torch.cat([s.background for s in seen])
    right = torch.cat([s.right for s in seen])
    decisions: dict[str, list[Tensor]] = {name: [] for name in tried}
    of_own: dict[str, list[bool]] = {name: [] for name in tried}
    for label in range(labels):
        classifier = namers(torch.tensor([label]), right[:0])
        for name, way in tried.items():
            decisions[name].append(way(background, classifier) < 0)
            of_own[name] += (way(features[right == label], classifier) < 0).tolist()
    tables = {name: torch.stack(rows) for name, rows in decisions.items()}
    return {
        name: {
            "one label: pieces of background named": float(table.float().mean()),
            "one label: labels that name any of the background": float(table.any(1).float().mean()),
            "one label: its own objects named": float(np.mean(of_own[name])),
        }
        for name, table in tables.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_packs_argument(parser)
    parser.add_argument("--scenes", type=int, default=60, help="of each kind")
    parser.add_argument("--seed", type=int, default=21, help="of the scenes; what is built in was chosen on 11 and 12")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    warnings.simplefilter("ignore", segzs.UnfamiliarWarning)
    segmenter = segzs.load("tiny", cache=False)
    general, names = general_features(segmenter.clip), segmenter.vocabulary.labels

    def namers(rows: Tensor, hidden: Tensor) -> ZeroShotClassifier:
        vocabulary = Vocabulary(tuple(names[row] for row in rows.tolist()), segmenter.vocabulary.templates)
        negatives = negative_labels(segmenter.clip, vocabulary, general[rows])
        classifier = ZeroShotClassifier(segmenter.clip, vocabulary, general[rows], negatives=negatives)
        return without(classifier, general[hidden])

    for kind, styles in (("training styles", TRAINING_STYLES), (f"unseen style ({UNSEEN_STYLE})", (UNSEEN_STYLE,))):
        seen = look(segmenter, arguments.packs, styles, arguments.scenes, arguments.seed)
        objects, background = (
            sum(map(len, part)) for part in zip(*((s.right, s.background) for s in seen), strict=True)
        )
        tried = ways(segmenter.clip.unknown_threshold)
        deciding = {name: way for name, way in tried.items() if name not in ("energy", "margin")}
        alone = measure_alone(namers, seen, deciding, len(names))
        columns = {}
        for name, way in tried.items():
            columns[name] = alone.get(name, {})
            for size in (0, FEW_LABELS):
                columns[name] |= measure(namers, seen, way, len(names), size, thresholds=name in deciding)
        blind = [measure(namers, seen, tried["contrast words"], len(names), k, blind=True) for k in (0, FEW_LABELS)]
        columns["... without the absent labels"] = blind[0] | blind[1]
        print(f"{kind}: {objects} objects and {background} pieces of background of {arguments.scenes} scenes\n")
        print(markdown(columns), flush=True)
        mistaken = ", ".join(f"{name} {count}" for name, count in most_mistaken(namers, seen, names))
        print(f"\nPieces of background that one label names most: {mistaken}\n", flush=True)


if __name__ == "__main__":
    main()
