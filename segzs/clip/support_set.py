"""Exemplars: names by showing. Image features with their labels, and how much they speak for each label."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from segzs.clip.labels import named
from segzs.clip.model import ClipModel
from segzs.errors import AnnotationError, ModelMismatchError, OutputError, SegzsError

FORMAT = "segzs-examples/1"
STRENGTH = 20.0
"""Log-odds of a label, in the mean over labels, where a picture is what its many examples are in the mean."""
DOUBT = 0.5
"""What n examples say counts n / (n + this)."""


def viewer(clip: ClipModel, shown: str) -> str:
    """A digest of a CLIP and of how it is shown objects, which ``shown`` says."""
    return hashlib.sha256(f"{clip.digest} {clip.config} {shown}".encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class SupportSet:
    """What a CLIP saw of examples, and how each is called.

    ``features`` is float32 (N, width), normalised, on the CPU; ``labels`` are N names, one for each; ``seen_by`` is the
    digest of the CLIP that saw them, and of how it was shown pictures: those of another one are not comparable.

    Raises:
        SegzsError: there is no example, or not a label for each.

    >>> shown = SupportSet(torch.eye(3), ("cat", "cat", "dog"), "a CLIP")
    >>> shown.counts
    {'cat': 2, 'dog': 1}
    """

    features: Tensor = field(repr=False)
    labels: tuple[str, ...]
    seen_by: str

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len(self.features) != len(self.labels) or not self.labels:
            raise SegzsError(
                f"{len(self.labels)} labels stand for features of shape {tuple(self.features.shape)}; one example at "
                "least, and a label for each, are expected"
            )

    @classmethod
    def of(
        cls,
        given: SupportSet | str | os.PathLike[str] | Mapping[str, Any],
        see: Callable[[Any], Tensor],
        seen_by: str,
    ) -> SupportSet:
        """Examples of this CLIP: as they are, of a file that `save` wrote, or shown now, under the name of each label.

        Args:
            given: the examples; a label may have a single one instead of a list.
            see: gives the normalised image features (N, width) of one of those that are shown.
            seen_by: see `viewer`.

        Raises:
            AnnotationError: the file is none of examples.
            ModelMismatchError: another CLIP saw them.
            VocabularyError: a name cannot be a label.
            SegzsError: there are none.
        """
        if isinstance(given, Mapping):
            several = (list, tuple, set, frozenset, Iterator)
            listed: dict[str, list] = {}
            for name, each in given.items():
                listed.setdefault(named(name), []).extend(each if isinstance(each, several) else [each])
            if empty := [label for label, shown in listed.items() if not shown]:
                raise SegzsError(f"nothing is shown for {empty[0]!r}; one example at least is expected")
            seen = [(label, see(one)) for label, shown in listed.items() for one in shown]
            labels = tuple(label for label, features in seen for _ in features)
            features = [features.cpu() for _, features in seen] or [torch.zeros(0, 0)]
            return cls(torch.cat(features), labels, seen_by)
        known = given if isinstance(given, SupportSet) else cls.load(given)
        known.check(seen_by)
        return known

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many examples each label has, in the order in which labels came."""
        return {label: self.labels.count(label) for label in dict.fromkeys(self.labels)}

    def means(self, labels: Sequence[str]) -> Tensor | None:
        """The normalised mean feature of each of these labels that has examples, (M, width); None where none has."""
        known = [label for label in labels if label in self.counts]
        if not known:
            return None
        rows = [[label == name for name in self.labels] for label in known]
        return F.normalize(torch.tensor(rows, dtype=self.features.dtype) @ self.features, dim=-1)

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        known = json.dumps([self.labels, self.seen_by]).encode()
        return hashlib.sha256(known + self.features.numpy().tobytes()).hexdigest()

    def __add__(self, other: SupportSet) -> SupportSet:
        """Both together.

        Raises:
            ModelMismatchError: another CLIP saw the others, or saw them in another way.
        """
        other.check(self.seen_by)
        return SupportSet(torch.cat([self.features, other.features]), self.labels + other.labels, self.seen_by)

    def check(self, seen_by: str) -> None:
        """Raise `ModelMismatchError` unless they were seen so."""
        if self.seen_by != seen_by:
            raise ModelMismatchError(
                "the examples were seen by another CLIP, or with other naming (crops or pooled), background, margin or "
                f"scales ({self.seen_by[:12]}, not {seen_by[:12]}); show them again to the one that is to name"
            )

    def evidence(self, pictures: Tensor, labels: Sequence[str]) -> Tensor:
        """What the examples say for each label, in logits to be added to those of its words: float32 (N, labels).

        Gaussian discriminant analysis with a shared covariance, as in "A hard-to-beat baseline for training-free CLIP
        adaptation" (Wang et al. 2024, https://arxiv.org/abs/2402.04087): the log-odds of a label's Gaussian against
        one at the mean of all, so that labels without examples, and "unknown", keep what they have. The covariance is
        their ridge estimate, which with one example a label is a sphere, scaled to the distances of the means, which
        differ from CLIP to CLIP. The more examples a label has, the more they count.
        """
        known = [label for label in labels if label in self.counts]
        evidence = pictures.new_zeros(len(pictures), len(labels))
        if known:
            weight, bias = (part.to(pictures.device) for part in self._classifier)
            rows = [list(self.counts).index(label) for label in known]
            columns = [labels.index(label) for label in known]
            evidence[:, columns] = pictures @ weight[rows].T + bias[rows]
        return evidence

    @cached_property
    def _classifier(self) -> tuple[Tensor, Tensor]:
        """Weights (labels, width) and biases (labels,) of the labels in `counts`."""
        number = torch.tensor(list(self.counts.values()), dtype=torch.float64)[:, None]
        names = list(self.counts)
        rows = torch.tensor([names.index(label) for label in self.labels])
        means = torch.zeros(len(names), self.features.shape[1], dtype=torch.float64)
        means = means.index_add(0, rows, self.features.double()) / number
        middle = means.sum(0) / (len(names) + 1)
        within = self.features.double() - means[rows]
        width, freedom = within.shape[1], max(len(rows) - len(names), 1)
        scatter = within.T @ within / freedom
        spread = scatter.trace().clamp(min=1e-9) / width
        ridge = freedom / width * scatter / spread + torch.eye(width, dtype=torch.float64)
        weight = torch.linalg.solve(ridge, (means - middle).T).T
        apart = ((means - middle) * weight).sum(1).mean().clamp(min=1e-9) / 2
        weight *= STRENGTH / apart * number / (number + DOUBT)
        bias = -(weight * (means + middle) / 2).sum(1)
        return weight.float(), bias.float()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write them to a safetensors file.

        Raises:
            OutputError: it cannot be written there.
        """
        path = Path(path)
        part = path.with_name(f".{path.name}.part")
        about = {"format": FORMAT, "seen_by": self.seen_by, "labels": json.dumps(self.labels)}
        try:
            save_file({"features": self.features.contiguous()}, part, about)
            os.replace(part, path)
        except (SafetensorError, OSError) as error:
            part.unlink(missing_ok=True)
            raise OutputError(f"the examples cannot be written to {path}: {error}") from error
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SupportSet:
        """Read what `save` wrote.

        Raises:
            AnnotationError: it is no such file.
        """
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                if about.get("format") != FORMAT:
                    raise ValueError(f"its format is {about.get('format')!r}")
                return cls(file.get_tensor("features").float(), tuple(json.loads(about["labels"])), about["seen_by"])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, SegzsError) as error:
            raise AnnotationError(
                f"{path} is no file that SupportSet.save wrote ({error}); pictures are shown under their labels, as "
                "{'fern': ['1.png', '2.png']}, and on the command line in a folder with a folder for each label"
            ) from error
