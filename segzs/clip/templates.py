"""Templates: sentences with ``{}`` where the label goes."""

from __future__ import annotations

from collections.abc import Iterable

from segzs.checks import clean_texts
from segzs.errors import VocabularyError

PLAIN = ("a photo of a {}",)
NAMED_TEMPLATES = ("simple", "imagenet", "plain")


def resolve_templates(templates: str | Iterable[str]) -> tuple[str, ...]:
    """Templates from the name of a set, or from one or more sentences that contain ``{}`` once.

    The sets are "plain" (1 template), "simple" (open_clip's 7) and "imagenet" (open_clip's 80).

    >>> resolve_templates("a drawing of a {}")
    ('a drawing of a {}',)
    >>> len(resolve_templates("simple"))
    7
    """
    if templates == "plain":
        return PLAIN
    if templates in ("simple", "imagenet"):
        import open_clip

        simple, imagenet = open_clip.SIMPLE_IMAGENET_TEMPLATES, open_clip.OPENAI_IMAGENET_TEMPLATES
        return tuple(template("{}") for template in (simple if templates == "simple" else imagenet))
    if isinstance(templates, str) and "{}" not in templates:
        names = ", ".join(NAMED_TEMPLATES)
        raise VocabularyError(f"unknown templates {templates!r}; choose from {names}, or give a sentence with {{}}")
    sentences = clean_texts(templates, "templates", error=VocabularyError)
    for sentence in sentences:
        if sentence.count("{}") != 1:
            raise VocabularyError(f"the template {sentence!r} must contain {{}} once, where the label goes")
    return sentences
