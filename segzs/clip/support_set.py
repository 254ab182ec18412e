"""Support set: image features of examples with their labels, and the logits that they add to the labels."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from segzs.clip.labels import Label
from segzs.clip.regions import Example, RegionEncoder
from segzs.errors import AnnotationError, ModelMismatchError, OutputError, SegzsError
from segzs.files import atomic_write

FORMAT = "segzs-examples/1"
STRENGTH = 30.0
"""Mean over labels of the log-odds that many examples give an image at their mean."""
SHRINKAGE = 0.5
"""The logits of n examples are multiplied by n / (n + this)."""


@dataclass(frozen=True, eq=False)
class SupportSet:
    """Examples of labels.

    ``features`` is float32 (N, width), normalised image features on the CPU; ``labels`` are N names, one for each;
    ``encoded_by`` is the digest of the `RegionEncoder`.

    Raises:
        SegzsError: there are no examples, or not a label for each.

    >>> SupportSet(torch.eye(3), ("cat", "cat", "dog"), "digest").counts
    {'cat': 2, 'dog': 1}
    """

    features: Tensor = field(repr=False)
    labels: tuple[str, ...]
    encoded_by: str

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len(self.features) != len(self.labels) or not self.labels:
            raise SegzsError(
                f"{len(self.labels)} labels and features of shape {tuple(self.features.shape)} are given; at least one "
                "example, and one label for each, are expected"
            )

    @classmethod
    def of(cls, examples: Examples, encoder: RegionEncoder) -> SupportSet:
        """Examples for a CLIP, from what `Segmenter.with_examples` takes, which says what is raised."""
        if not isinstance(examples, Mapping):
            support_set = examples if isinstance(examples, SupportSet) else cls.load(examples)
            support_set.check(encoder.digest)
            return support_set
        listed: dict[str, list[Any]] = {}
        for name, values in examples.items():
            several = isinstance(values, list | tuple | set | frozenset | Iterator)
            listed.setdefault(Label(name).name, []).extend(values if several else [values])
        if empty := [label for label, values in listed.items() if not values]:
            raise SegzsError(f"there are no examples of {empty[0]!r}; at least one is expected")
        encoded = [(label, encoder.encode_example(value).cpu()) for label, values in listed.items() for value in values]
        labels = tuple(label for label, features in encoded for _ in features)
        return cls(torch.cat([features for _, features in encoded] or [torch.zeros(0, 0)]), labels, encoder.digest)

    @cached_property
    def counts(self) -> dict[str, int]:
        """The number of examples of each label, in the order of the first examples."""
        return {label: self.labels.count(label) for label in dict.fromkeys(self.labels)}

    def means(self, labels: Sequence[str]) -> Tensor | None:
        """The normalised mean feature of each of the labels that has examples, float32 (M, width); None for none."""
        rows = [[label == name for name in self.labels] for label in labels if label in self.counts]
        return F.normalize(torch.tensor(rows, dtype=self.features.dtype) @ self.features, dim=-1) if rows else None

    @property
    def digest(self) -> str:
        """SHA-256 of the features, the labels and the encoder."""
        texts = json.dumps([self.labels, self.encoded_by]).encode()
        return hashlib.sha256(texts + self.features.numpy().tobytes()).hexdigest()

    def __add__(self, other: SupportSet) -> SupportSet:
        """The examples of both; raises `ModelMismatchError` if the others were encoded in another way."""
        other.check(self.encoded_by)
        return SupportSet(torch.cat([self.features, other.features]), self.labels + other.labels, self.encoded_by)

    def check(self, encoded_by: str) -> None:
        """Raise `ModelMismatchError` unless the examples were encoded by this encoder."""
        if self.encoded_by != encoded_by:
            raise ModelMismatchError(
                "the examples were encoded by another CLIP, or with other regions, background or margin "
                f"({self.encoded_by[:12]}, not {encoded_by[:12]}); encode the images again"
            )

    def logits(self, image_features: Tensor, labels: Sequence[str]) -> Tensor:
        """Logits to add to the labels' own: float32 (N, labels), 0 for labels without examples.

        Gaussian discriminant analysis with one covariance, as in "A hard-to-beat baseline for training-free CLIP-based
        adaptation" (Wang et al. 2024, https://arxiv.org/abs/2402.04087): the log-odds of a label's Gaussian against a
        Gaussian at the mean of all, so that labels without examples, and "unknown", keep their logits. The covariance
        is the ridge estimate, which is a sphere where each label has one example; it is scaled to the distances of the
        means, which differ between CLIPs. Labels with more examples get larger logits. No logit is negative: objects of
        one label differ so much that an image unlike all examples may still show one.
        """
        logits = image_features.new_zeros(len(image_features), len(labels))
        weight, bias = (part.to(image_features.device) for part in self._classifier)
        rows = {label: row for row, label in enumerate(self.counts)}
        columns = [column for column, label in enumerate(labels) if label in rows]
        chosen = [rows[labels[column]] for column in columns]
        logits[:, columns] = (image_features @ weight[chosen].T + bias[chosen]).clamp(min=0)
        return logits

    @cached_property
    def _classifier(self) -> tuple[Tensor, Tensor]:
        """Weights (labels, width) and biases (labels,) of the labels in `counts`."""
        counts = torch.tensor(list(self.counts.values()), dtype=torch.float64)[:, None]
        names = list(self.counts)
        rows = torch.tensor([names.index(label) for label in self.labels])
        means = torch.zeros(len(names), self.features.shape[1], dtype=torch.float64)
        means = means.index_add(0, rows, self.features.double()) / counts
        center = means.sum(0) / (len(names) + 1)
        residuals = self.features.double() - means[rows]
        width, freedom = residuals.shape[1], max(len(rows) - len(names), 1)
        covariance = residuals.T @ residuals / freedom
        variance = covariance.trace().clamp(min=1e-9) / width
        ridge = freedom / width * covariance / variance + torch.eye(width, dtype=torch.float64)
        weight = torch.linalg.solve(ridge, (means - center).T).T
        distance = ((means - center) * weight).sum(1).mean().clamp(min=1e-9) / 2
        weight *= STRENGTH / distance * counts / (counts + SHRINKAGE)
        bias = -(weight * (means + center) / 2).sum(1)
        return weight.float(), bias.float()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the examples to a safetensors file and return its path; raises `OutputError` if that fails."""
        path = Path(path)
        metadata = {"format": FORMAT, "encoded_by": self.encoded_by, "labels": json.dumps(self.labels)}
        try:
            with atomic_write(path, "wb") as file:
                file.write(save({"features": self.features.contiguous()}, metadata))
        except (SafetensorError, OSError) as error:
            raise OutputError(f"cannot write the examples to {path}: {error}") from error
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SupportSet:
        """Read a file that `save` wrote; raises `AnnotationError` for others."""
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
                labels = tuple(json.loads(metadata["labels"]))
                return cls(file.get_tensor("features").float(), labels, metadata["encoded_by"])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, SegzsError) as error:
            raise AnnotationError(
                f"{path} is not a file that SupportSet.save wrote ({error}); give images by label, as "
                "{'fern': ['1.png', '2.png']}, or on the command line a folder with a folder for each label"
            ) from error


Examples = SupportSet | str | os.PathLike[str] | Mapping[str, Example | Iterable[Example]]
