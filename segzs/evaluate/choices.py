"""Which crops and which templates name best: every pair of them on the same objects."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from segzs.clip.crops import BACKGROUNDS, Cropping
from segzs.clip.vocabulary import NAMED_TEMPLATES, named_templates, usual_templates
from segzs.evaluate.naming import features_of, judge
from segzs.evaluate.report import markdown
from segzs.evaluate.statistics import Difference, Estimate, difference_of_means, estimate_mean
from segzs.evaluate.truth import Truth
from segzs.segmenter import Segmenter

MARGINS = (0.0, 0.1, 0.3)
PLAIN_BOX = ("keep", 0.0, "plain")
"""The box as it is, asked for in one sentence: what every choice is compared with."""


@dataclass(frozen=True)
class Choice:
    """A way of showing objects and a set of templates, and how often the right label is the most probable one.

    ``by_source`` has that for each source, where there are several; ``gain`` is the difference to `PLAIN_BOX`.
    """

    cropping: Cropping
    templates: str
    in_use: bool
    top_1: Estimate
    by_source: Mapping[str, Estimate]
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

    CLIP sees each object once a crop mode, whatever the templates. The segmenter's own choice is marked as ``in_use``.

    Raises:
        ImageError, AnnotationError: a picture cannot be read, or is not the one that was annotated.
        VocabularyError: no name of the truth is a label.
    """
    truth.check_labels(segmenter.vocabulary.labels)
    sets, croppings = _sets(segmenter), _croppings(segmenter.region_encoder.cropping, margins)
    asked = {name: _asked_in(segmenter, texts) for name, texts in sets.items()}
    right: dict[tuple[Cropping, str], list[float]] = defaultdict(list)
    for number, picture in enumerate(truth.pictures):
        image = picture.read()
        for cropping in croppings:
            features = features_of(segmenter, image, picture.masks, cropping)
            for name, one in asked.items():
                ranked = zip(one.classifier.names(features), picture.names, strict=True)
                judged = [judge(names, of, one.vocabulary) for names, of in ranked]
                right[cropping, name] += [math.nan if j is None else float(j.first) for j in judged]
        if progress is not None:
            progress((number + 1) / len(truth.pictures))
    background, margin, templates = PLAIN_BOX
    base = np.array(right[replace(segmenter.region_encoder.cropping, background=background, margin=margin), templates])
    pictures = np.repeat(np.arange(len(truth.pictures)), [len(picture.names) for picture in truth.pictures])
    sources = np.array([picture.source for picture in truth.pictures for _ in picture.names])
    in_use = (segmenter.region_encoder.cropping, segmenter.vocabulary.templates)

    def choice(cropping: Cropping, name: str) -> Choice:
        values = np.array(right[cropping, name])
        of_source = {
            source: estimate_mean(values[sources == source], pictures[sources == source], seed=seed)
            for source in np.unique(sources).tolist()
        }
        return Choice(
            cropping,
            name,
            (cropping, sets[name]) == in_use,
            estimate_mean(values, pictures, seed=seed),
            of_source if len(of_source) > 1 else {},
            difference_of_means(base, values, pictures, seed=seed),
        )

    return sorted((choice(*key) for key in right), key=lambda one: (-one.top_1.value, not one.in_use, one.key))


def _croppings(used: Cropping, margins: Sequence[float]) -> list[Cropping]:
    """Every background with every margin; what is cut out has none."""
    of_each = dict.fromkeys([*margins, PLAIN_BOX[1], used.margin])
    modes = [(background, margin) for background in BACKGROUNDS if background != "cut" for margin in of_each]
    modes.append(("cut", used.margin if used.background == "cut" else 0.0))
    return [replace(used, background=background, margin=margin) for background, margin in modes]


def _asked_in(segmenter: Segmenter, templates: tuple[str, ...]) -> Segmenter:
    """The segmenter with other templates; as it is, weights and all, if these are its own."""
    if templates == segmenter.vocabulary.templates:
        return segmenter
    return segmenter.with_labels(segmenter.vocabulary, templates=templates)


def _sets(segmenter: Segmenter) -> dict[str, tuple[str, ...]]:
    """Sets of templates by their names: those that have one, what is usual for the CLIP, and what the user gave."""
    sets = {name: named_templates(name) for name in NAMED_TEMPLATES}
    for name, texts in (("usual", usual_templates(segmenter.clip)), ("given", segmenter.vocabulary.templates)):
        if texts not in sets.values():
            sets[name] = texts
    return sets


def choices_table(found: Sequence[Choice]) -> list[tuple[str, ...]]:
    """Rows of text, a header first."""
    sources = [f"({source})" for source in found[0].by_source]
    compared = ("over the plain box", "95 % interval", "p")
    header = ("background", "margin", "templates", "top-1", "95 % interval", *sources, *compared)
    rows: list[tuple[str, ...]] = [
        (
            choice.cropping.background,
            f"{choice.cropping.margin:g}",
            f"{choice.templates} (in use)" if choice.in_use else choice.templates,
            f"{choice.top_1.value:.3f}",
            choice.top_1.interval(),
            *(f"{one.value:.3f}" for one in choice.by_source.values()),
            f"{choice.gain.difference.value:+.3f}",
            choice.gain.difference.interval(sign="+"),
            "" if math.isnan(choice.gain.p) else f"{choice.gain.p:.2g}",
        )
        for choice in found
    ]
    return [header, *rows]


def choices_page(found: Sequence[Choice]) -> str:
    """A page of Markdown: a table of crop modes and templates for all objects, each source, and the gain."""
    figures = {"All objects": [choice.top_1 for choice in found]}
    for source in found[0].by_source:
        figures[source] = [choice.by_source[source] for choice in found]
    parts = [
        "# Crops and templates",
        "Top-1 with the 95 % interval of the bootstrap over images; in bold what is in use.",
    ]
    for title, estimates in figures.items():
        parts += [f"## {title}", markdown(_grid(found, estimates, ""))]
    gains = [choice.gain.difference for choice in found]
    parts += ["## More than the plain box (keep, 0, plain)", markdown(_grid(found, gains, "+"))]
    return "\n\n".join(parts) + "\n"


def _grid(found: Sequence[Choice], estimates: Sequence[Estimate], sign: str) -> list[tuple[str, ...]]:
    """A row a crop mode, the best first, a column a set of templates."""
    modes = dict.fromkeys((choice.cropping.background, choice.cropping.margin) for choice in found)
    sets = list(dict.fromkeys(sorted(choice.templates for choice in found)))
    cells = {}
    for choice, one in zip(found, estimates, strict=True):
        bold = "**" if choice.in_use else ""
        interval = one.interval(sign=sign)
        shown = f"{one.value:{sign}.3f}{interval and f' ({interval})'}"
        cells[choice.key] = bold + shown + bold
    rows: list[tuple[str, ...]] = [
        (background, f"{margin:g}", *(cells[background, margin, name] for name in sets)) for background, margin in modes
    ]
    return [("background", "margin", *sets), *rows]
