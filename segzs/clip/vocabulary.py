"""A Vocabulary: the labels that objects may get, and the sentences that they are asked in."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import torch
from safetensors import safe_open
from torch import Tensor

from segzs.checks import check_number
from segzs.clip.labels import Label, LabelList, check_label, check_templates, label_list, texts_of
from segzs.clip.model import ClipModel
from segzs.errors import VocabularyError
from segzs.settings import PACKAGE, embedded_folder

NAMED_TEMPLATES = ("simple", "imagenet", "plain")
PLAIN = ("a photo of a {}",)
TEXT_BATCH = 256


@dataclass(frozen=True)
class Vocabulary:
    """Labels, and templates with ``{}`` where the label goes.

    ``details`` is what more is known of some of the labels, and ``negatives`` are what none of them should be taken
    for. Parents are labels as well. ``weights`` say how much each template counts, as `zero_shot_weights` finds; empty,
    they count alike.

    Raises:
        VocabularyError: no labels, an empty or repeated one, the reserved "unknown", a template without ``{}``, or
            details or a parent of what is no label.

    >>> Vocabulary.of('cat, coffee mug, "salt, coarse"').labels
    ('cat', 'coffee mug', 'salt, coarse')
    """

    labels: tuple[str, ...]
    templates: tuple[str, ...] = PLAIN
    details: tuple[Label, ...] = ()
    negatives: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("labels", "templates", "negatives"):
            object.__setattr__(self, name, texts_of(getattr(self, name), name))
        object.__setattr__(self, "details", tuple(self.details))
        if strange := [label for label in self.details if not isinstance(label, Label)]:
            raise VocabularyError(f"{strange[0]!r} is no detail of a label; segzs.clip.labels.Label(...) is expected")
        if not self.labels:
            raise VocabularyError("a vocabulary needs at least one label")
        for label in self.labels:
            check_label(label)
        for names in (self.labels, [label.name for label in self.details]):
            if repeated := [name for name, count in Counter(names).items() if count > 1]:
                shown = ", ".join(map(repr, repeated[:5]))
                raise VocabularyError(f"{shown} stand twice among the labels; name each once")
        if not self.templates:
            raise VocabularyError("a vocabulary needs at least one template, such as 'a photo of a {}'")
        check_templates(self.templates)
        object.__setattr__(self, "weights", tuple(self.weights))
        if self.weights and len(self.weights) != len(self.templates):
            raise VocabularyError(
                f"{len(self.weights)} weights are given for {len(self.templates)} templates; one each"
            )
        for weight in self.weights:
            check_number("a template's weight", weight, "a share from 0 to 1", 0, 1, error=VocabularyError)
        if self.weights and not any(self.weights):
            raise VocabularyError("all templates weigh 0, and none is left to ask in; give one of them more")
        self._check_details()

    def _check_details(self) -> None:
        known = set(self.labels)
        parents = self._parents
        for name in (*(label.name for label in self.details), *parents.values()):
            if name not in known:
                raise VocabularyError(f"{name!r} has details or children, and is no label; name it among the labels")
        for name in parents:
            line = [name]
            while (above := parents.get(line[-1])) is not None:
                line.append(above)
                if line.count(above) > 1:
                    raise VocabularyError(f"{' < '.join(line)}: a label cannot be its own parent")

    @classmethod
    def of(
        cls,
        labels: Vocabulary | LabelList | str | os.PathLike[str] | Iterable[str | Label],
        templates: str | Sequence[str] | None = None,
        usual: Sequence[str] = PLAIN,
    ) -> Vocabulary:
        """A vocabulary from another one, a list, comma-separated text, the name of a built-in list, or a file.

        A single word that names a built-in list is that list: "imagenet" (open_clip's 998 different names of 1,000
        classes), "coco" (80), "ade20k" (150) or "everyday" (of no data set); the label itself is a list of one,
        ``["coco"]``. A file (``.txt``, ``.csv``, ``.json``, ``.yaml`` or any path that exists) has a label a line,
        or in CSV all in one line, or is a JSON or YAML list, or a mapping that holds one as "labels" or "names"; lines
        of text that are empty or start with ``#`` are skipped. In YAML, JSON and lists, a label may have details, see
        `Label`; parents that are not listed become labels.

        ``templates`` are sentences, or open_clip's "simple" (7) or "imagenet" (80), or "plain" (1); left out, those of
        the file, else ``usual``. Labels are stripped; repeated ones count once, in files they are an error.

        Raises:
            VocabularyError: nothing is left to name with, or the file cannot be read; says where.
        """
        if isinstance(labels, Vocabulary):
            return labels if templates is None else replace(labels, templates=named_templates(templates), weights=())
        found = label_list(labels)
        names = dict.fromkeys(label.name for label in found.labels)
        names |= dict.fromkeys(label.parent for label in found.labels if label.parent)
        return cls(
            tuple(names),
            (found.templates or tuple(usual)) if templates is None else named_templates(templates),
            tuple(label for label in found.labels if not label.is_plain),
            found.negatives,
        )

    def without(self, labels: Iterable[str]) -> Vocabulary:
        """The same without some labels; what stood below one of them stands by itself.

        Raises:
            VocabularyError: none is left, or ``labels`` are no list of words.

        >>> Vocabulary.of("cat, dog, mug").without(["dog"]).labels
        ('cat', 'mug')
        """
        gone = set(texts_of(labels, "labels"))
        kept = (label for label in self.details if label.name not in gone)
        details = (replace(label, parent="") if label.parent in gone else label for label in kept)
        names = tuple(label for label in self.labels if label not in gone)
        return replace(self, labels=names, details=tuple(label for label in details if not label.is_plain))

    def lineage(self, label: str) -> tuple[str, ...]:
        """A label, its parent, and so on.

        >>> Vocabulary.of([Label("cat", parent="animal"), "mug"]).lineage("cat")
        ('cat', 'animal')
        """
        line = [label]
        while parent := self._parents.get(line[-1]):
            line.append(parent)
        return tuple(line)

    @cached_property
    def _parents(self) -> dict[str, str]:
        return {label.name: label.parent for label in self.details if label.parent}

    def rows_of(self, other: Vocabulary) -> dict[str, int]:
        """Of the labels that ``other`` asks for in the very same sentences, the rows that they have there."""
        if (self.templates, self.weights) != (other.templates, other.weights):
            return {}
        ours, theirs = ({label.name: label.asked for label in each.details} for each in (self, other))
        rows = {label: row for row, label in enumerate(other.labels)}
        return {label: rows[label] for label in self.labels if label in rows and ours.get(label) == theirs.get(label)}

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        content: list[Any] = [self.labels, self.templates]
        if self.details or self.negatives:
            content += [[astuple(label) for label in self.details], self.negatives]
        if self.weights:
            content.append({"weights": self.weights})
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def named_templates(templates: str | Sequence[str]) -> tuple[str, ...]:
    """Sentences by the name of a set, or the user's own."""
    if not isinstance(templates, str):
        return texts_of(templates, "templates")
    if templates == "plain":
        return PLAIN
    if templates in ("simple", "imagenet"):
        import open_clip

        sets = {"simple": open_clip.SIMPLE_IMAGENET_TEMPLATES, "imagenet": open_clip.OPENAI_IMAGENET_TEMPLATES}
        return tuple(template("{}") for template in sets[templates])
    if "{}" in templates:
        return (templates,)
    raise VocabularyError(
        f"{templates!r} is no set of templates: {', '.join(NAMED_TEMPLATES)} are, or give a sentence with {{}}"
    )


def usual_templates(clip: ClipModel) -> tuple[str, ...]:
    """The sentences in which labels are asked for where nothing else is said."""
    return clip.spec.templates or PLAIN


def general_vocabulary(clip: ClipModel) -> Vocabulary:
    """What to name with when the user gives no labels: the CLIP's own general vocabulary, or everyday things."""
    own = clip.spec.general and embedded_folder() / f"{clip.spec.general}.txt"
    labels = own or PACKAGE / "clip" / "everyday.txt"
    return Vocabulary.of(labels, usual_templates(clip))


_general_features: WeakKeyDictionary[ClipModel, Tensor] = WeakKeyDictionary()


def general_features(clip: ClipModel) -> Tensor:
    """`encode_labels` of the general vocabulary, once for each model."""
    if clip not in _general_features:
        _general_features[clip] = _stored_features(clip)
    return _general_features[clip]


def _stored_features(clip: ClipModel) -> Tensor:
    """A CLIP may bring the features along, as they take seconds."""
    vocabulary = general_vocabulary(clip)
    stored = embedded_folder() / f"{clip.spec.general}.safetensors"
    if clip.spec.general and stored.is_file():
        with safe_open(stored, "pt") as file:
            if file.metadata() == {"weights": clip.digest, "vocabulary": vocabulary.digest}:
                return file.get_tensor("features").float().to(clip.device)
    return encode_labels(clip, vocabulary)


def encode_labels(clip: ClipModel, vocabulary: Vocabulary) -> Tensor:
    """A text feature for each label: float32 (labels, width), normalised.

    A plain label's is the normalised mean over the normalised templates, the zero-shot classifier of CLIP (Radford et
    al. 2021, section 3.1.4). With synonyms and descriptions it is the normalised mean of those of its name, of each
    synonym, and of each description as it stands, as in "What does a platypus look like?" (Pratt et al. 2023). The mean
    and not the best of them: the best of many is high by chance, which favours labels of which more is said (with
    keywords as synonyms for half of the embedded CLIP's labels, it named fewer scenes' objects right than the mean).

    Raises:
        VocabularyError: a label's sentence is longer than what the model reads.
    """
    details = {label.name: label for label in vocabulary.details}
    ensembles: list[tuple[str, ...]] = []  # of sentences, whose mean is one vote on a label
    weights: list[float] = []
    votes: list[int] = []
    for name in vocabulary.labels:
        label = details.get(name) or Label(name)
        templates = label.templates or vocabulary.templates
        words = [tuple(template.replace("{}", word) for template in templates) for word in (name, *label.synonyms)]
        ensembles += [*words, *((description,) for description in label.descriptions)]
        weights += ((() if label.templates else vocabulary.weights) or [1.0] * len(templates)) * len(words)
        weights += [1.0] * len(label.descriptions)
        votes.append(len(words) + len(label.descriptions))
    features = encode_texts(clip, [text for texts in ensembles for text in texts])
    if vocabulary.weights:
        features = features * features.new_tensor(weights)[:, None]
    features = _mean(features, list(map(len, ensembles)))
    return features if len(features) == len(votes) else _mean(features, votes)


def encode_sentences(clip: ClipModel, vocabulary: Vocabulary) -> Tensor:
    """Normalised features of every label in every template: float32 (labels, templates, width).

    Raises:
        VocabularyError: templates have weights already, a label has synonyms, descriptions or templates of its own, or
            is longer than the model reads.
    """
    if vocabulary.weights:
        raise VocabularyError("the templates have weights already; give the vocabulary without them to weigh it anew")
    for label in vocabulary.details:
        if label.synonyms or label.descriptions or label.templates:
            raise VocabularyError(
                f"{label.name!r} is asked for in other sentences than the rest, and templates are to be weighed; leave "
                "out its synonyms, descriptions and templates, or take weighting='mean'"
            )
    texts = [template.replace("{}", name) for name in vocabulary.labels for template in vocabulary.templates]
    return encode_texts(clip, texts).unflatten(0, (len(vocabulary.labels), len(vocabulary.templates)))


def _mean(features: Tensor, counts: Sequence[int]) -> Tensor:
    """Normalised means of so many consecutive rows each."""
    if len(set(counts)) == 1:
        means = features.unflatten(0, (len(counts), counts[0])).mean(1)
    else:
        means = torch.stack([part.mean(0) for part in features.split(list(counts))])
    return torch.nn.functional.normalize(means, dim=-1)


@torch.inference_mode()
def encode_texts(clip: ClipModel, texts: Sequence[str]) -> Tensor:
    """Normalised features of sentences: float32 (texts, width).

    Raises:
        VocabularyError: one is longer than what the model reads: it would be cut off in silence.
    """
    batches = [list(texts[i : i + TEXT_BATCH]) for i in range(0, len(texts), TEXT_BATCH)]
    features = []
    for batch in batches:
        tokens = clip.tokenizer(batch)
        _check_length(clip, batch, tokens)
        features.append(clip.module.encode_text(tokens.to(clip.device), normalize=True))
    return torch.cat(features)


def check_lengths(clip: ClipModel, vocabulary: Vocabulary, places: Mapping[str, str]) -> None:
    """Raise `VocabularyError` where one of these labels is longer than what the model reads; says the label's place."""
    details, longest = {label.name: label for label in vocabulary.details}, max(vocabulary.templates, key=len)
    asked: list[tuple[str, str]] = []
    for name, place in places.items():
        label = details.get(name) or Label(name)
        template = max(label.templates, key=len, default=longest)
        words = (template.replace("{}", word) for word in (name, *label.synonyms))
        asked += ((text, place) for text in (*words, *label.descriptions))
    if asked:
        texts = [text for text, _ in asked]
        _check_length(clip, texts, clip.tokenizer(texts), [f"{place}: " for _, place in asked])


def _check_length(clip: ClipModel, texts: Sequence[str], tokens: Tensor, places: Sequence[str] = ()) -> None:
    """Raise `VocabularyError` where a tokenizer with more room would have said something else."""
    length = tokens.shape[1]
    suspects = [i for i, text in enumerate(texts) if len(text.encode()) > length - 4]  # no token is less than a byte
    if not suspects:
        return
    roomy = clip.tokenizer([texts[i] for i in suspects], context_length=4 * length)
    for i, row in zip(suspects, roomy, strict=True):
        if not torch.equal(row[:length], tokens[i]) or row[length] != row[-1]:
            place = places[i] if places else ""
            raise VocabularyError(
                f"{place}{texts[i]!r} is longer than the {length} tokens that {clip.spec.name} reads at once; "
                "say it shorter"
            )


def unknown_words(clip: ClipModel, vocabulary: Vocabulary) -> list[str]:
    """Labels with words that the model's text tower never saw; empty for models trained on all words."""
    if clip.known_tokens is None:
        return []
    rows = clip.tokenizer(list(vocabulary.labels)).tolist()
    pairs = zip(vocabulary.labels, rows, strict=True)
    return [label for label, tokens in pairs if not clip.known_tokens.issuperset(token for token in tokens if token)]
