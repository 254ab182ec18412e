"""Which crops and which templates name best: every pair of them on the same objects."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from segzs.clip.crops import BACKGROUNDS, Cropping
from segzs.clip.vocabulary import NAMED_TEMPLATES, named_templates, usual_templates
from segzs.errors import VocabularyError
from segzs.evaluate.naming import features_of, judge
from segzs.evaluate.statistics import Difference, Estimate, difference_of_means, estimate_mean
from segzs.evaluate.truth import Truth
from segzs.segmenter import Segmenter

MARGINS = (0.0, 0.1, 0.3)
PLAIN_BOX = ("keep", 0.0, "plain")
"""The box as it is, asked for in one sentence: what every choice is compared with."""


@dataclass(frozen=True)
class Choice:
    """A way of showing objects and a set of templates, how often the right label is the most probable one, and how much
    oftener than with `PLAIN_BOX`."""

    cropping: Cropping
    templates: str
    usual: bool
    top_1: Estimate
    gain: Difference

    @property
    def key(self) -> tuple[str, float, str]:
        """Background, margin, templates."""
        return self.cropping.background, self.cropping.margin, self.templates


def choices(
    segmenter: Segmenter,
    truth: Truth,
    *,
    margins: Sequence[float] = MARGINS,
    seed: int = 0,
    progress: Callable[[float], object] | None = None,
) -> list[Choice]:
    """Every crop mode with every set of templates, best first, on objects whose names are labels of the segmenter.

    CLIP sees each object once a crop mode, whatever the templates. The segmenter's own choice is marked as ``usual``.

    Raises:
        ImageError, AnnotationError: a picture cannot be read, or is not the one that was annotated.
        VocabularyError: no name of the truth is a label.
    """
    croppings = [
        replace(segmenter.cropping, background=background, margin=margin)
        for background in BACKGROUNDS
        for margin in dict.fromkeys([*margins, PLAIN_BOX[1], segmenter.cropping.margin])
    ]
    own = segmenter.vocabulary.templates
    sets = {name: named_templates(name) for name in ("plain", *(n for n in NAMED_TEMPLATES if n != "plain"))}
    for name, sentences in (("usual", usual_templates(segmenter.clip)), ("given", own)):
        if sentences not in sets.values():
            sets[name] = sentences
    asked = {name: segmenter.with_labels(segmenter.vocabulary.labels, templates=t) for name, t in sets.items()}
    right: dict[tuple[int, str], list[float]] = {(i, name): [] for i in range(len(croppings)) for name in sets}
    pictures: list[int] = []
    for number, picture in enumerate(truth.pictures):
        image = picture.read()
        for index, cropping in enumerate(croppings):
            features = features_of(segmenter, image, picture.masks, cropping)
            for name, one in asked.items():
                with torch.inference_mode():
                    judged = judge(one.namer.probabilities(features), one.vocabulary.labels, picture.names)
                right[index, name] += [math.nan if j is None else float(j.first) for j in judged]
        pictures += [number] * len(picture.names)
        if progress is not None:
            progress((number + 1) / len(truth.pictures))
    places = np.array(pictures, int)
    plain = next(i for i, c in enumerate(croppings) if (c.background, c.margin) == PLAIN_BOX[:2])
    base = np.array(right[plain, PLAIN_BOX[2]])
    if np.isnan(base).all():
        raise VocabularyError("none of the annotated names is among the labels; use the words of the annotations")
    found = []
    for (index, name), values in right.items():
        found.append(
            Choice(
                croppings[index],
                name,
                croppings[index] == segmenter.cropping and sets[name] == own,
                estimate_mean(np.array(values), places, seed=seed),
                difference_of_means(base, np.array(values), places, seed=seed),
            )
        )
    return sorted(found, key=lambda choice: (-choice.top_1.value, not choice.usual, choice.key))


def choices_table(found: Sequence[Choice]) -> list[tuple[str, ...]]:
    """Rows of text, a header first."""
    header = ("background", "margin", "templates", "top-1", "95 % interval", "over the plain box", "95 % interval", "p")
    rows: list[tuple[str, ...]] = [
        (
            choice.cropping.background,
            f"{choice.cropping.margin:g}",
            f"{choice.templates} (in use)" if choice.usual else choice.templates,
            f"{choice.top_1.value:.3f}",
            f"{choice.top_1.low:.3f} to {choice.top_1.high:.3f}",
            f"{choice.gain.difference.value:+.3f}",
            f"{choice.gain.difference.low:+.3f} to {choice.gain.difference.high:+.3f}",
            f"{choice.gain.p:.2g}",
        )
        for choice in found
    ]
    return [header, *rows]
