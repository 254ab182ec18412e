"""load(): locate models, check them and compose a `Segmenter`."""

from __future__ import annotations

from os import PathLike
from typing import Any

import torch

from segzs.cache import MEBI, EmbeddingCache
from segzs.checkpoints.locate import locate_clip, locate_sam
from segzs.checkpoints.registry import preset
from segzs.clip.classifier import ZeroShotClassifier, build_classifier
from segzs.clip.model import load_clip
from segzs.clip.regions import Naming, RegionEncoder
from segzs.clip.support_set import Examples, SupportSet
from segzs.clip.vocabulary import Labels
from segzs.environment import has_fast_bfloat16, use_one_thread_in_forks
from segzs.errors import ModelError, UnknownModelError
from segzs.sam.model import load_sam
from segzs.segmenter import Segmenter
from segzs.settings import default_model, embeddings_folder


def load(
    model: str | None = None,
    labels: Labels | None = None,
    *,
    sam: str | None = None,
    clip: str | None = None,
    naming: Naming = Naming(),
    examples: Examples | None = None,
    device: str = "auto",
    dtype: str = "auto",
    cache: bool = True,
    cache_memory: int = 256 * MEBI,
) -> Segmenter:
    """Load a SAM and a CLIP; nothing is downloaded.

    The `Segmenter` can be used in many threads, and in forked processes, which compute with one thread each.

    Args:
        model: a preset: "tiny" (embedded; the default, or SEGZS_MODEL), "photo-fast", "photo", "mobile", "vit_b",
            "vit_l", "vit_h".
        labels: a list, a `Vocabulary`, or the path of a file; None takes the general vocabulary of the CLIP.
        sam: another SAM than the preset's: a name, or ``ARCHITECTURE:FILE``.
        clip: another CLIP than the preset's: ``ARCHITECTURE:TAG``, ``hf-hub:ORG/NAME``, a folder, or a file.
        naming: how objects are cropped for CLIP, and when they are "unknown"; see `Naming`.
        examples: examples of labels, or a file of them; see `Segmenter.with_examples`.
        device: "cpu", "cuda", "mps", or "auto".
        dtype: "float32", "bfloat16", or "auto": bfloat16 where the device has instructions for it. The embedded models
            use float32 with "auto", so that their results are the same everywhere.
        cache: keep image embeddings and text features of long vocabularies on disk, up to 4 GiB; see ``segzs cache``.
        cache_memory: bytes of embeddings that are kept in memory.

    Raises:
        ModelError: a model, device or dtype is unknown or not on this machine, or ``naming.regions`` is "pooled" and
            the CLIP has no dense features.
        WeightsError: a checkpoint is damaged or belongs to another model.
        VocabularyError: the labels cannot name anything.
        UsageError: ``cache_memory`` is not a number of bytes.

    >>> segmenter = load(labels=["apple", "pear"])
    >>> segmenter.model
    'tiny+tiny'
    """
    _check_names(model=model, sam=sam, clip=clip)
    chosen = preset(model or default_model())
    torch_device = resolve_device(device)
    embeddings = EmbeddingCache(embeddings_folder() if cache else None, cache_memory)
    sam_file = locate_sam(sam or chosen.sam)
    use_one_thread_in_forks()
    classifier, regions = _load_naming(clip or chosen.clip, labels, naming, torch_device, dtype, embeddings)
    sam_model = load_sam(sam_file, torch_device, resolve_dtype(dtype, torch_device, sam_file.spec.name))
    segmenter = Segmenter(sam_model, classifier, regions)
    return segmenter if examples is None else segmenter.with_examples(examples)


def load_classifier(
    model: str | None = None,
    labels: Labels | None = None,
    *,
    clip: str | None = None,
    naming: Naming = Naming(),
    examples: Examples | None = None,
    device: str = "auto",
    dtype: str = "auto",
    cache: bool = True,
) -> ZeroShotClassifier:
    """Load only the CLIP and the labels, to name whole images; arguments and errors are those of `load`."""
    _check_names(model=model, clip=clip)
    embeddings = EmbeddingCache(embeddings_folder() if cache else None)
    name = clip or preset(model or default_model()).clip
    use_one_thread_in_forks()
    classifier, regions = _load_naming(name, labels, naming, resolve_device(device), dtype, embeddings)
    if examples is None:
        return classifier
    return classifier.with_examples(SupportSet.of(examples, regions), embeddings)


def _check_names(**names: Any) -> None:
    for option, name in names.items():
        if not isinstance(name, str | PathLike | None):
            raise UnknownModelError(f"{option} is {name!r}; the name of a model is expected, see: segzs models")


def _load_naming(
    clip: str, labels: Labels | None, naming: Naming, device: torch.device, dtype: str, cache: EmbeddingCache
) -> tuple[ZeroShotClassifier, RegionEncoder]:
    files = locate_clip(clip)
    model = load_clip(files, device, resolve_dtype(dtype, device, files.spec.name))
    regions = RegionEncoder.of(model, naming, cache)
    return build_classifier(model, labels, naming, cache), regions


def resolve_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA, else Apple's MPS, else the CPU.

    Raises `ModelError` if PyTorch cannot compute on it here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()  # fails where the device is missing, and for "meta", which holds no data
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"the device {name!r} cannot be used here ({reason}); try cpu") from error
    return device


def resolve_dtype(name: str, device: torch.device, model: str) -> torch.dtype:
    """The dtype that a model computes with; see `load`."""
    if name == "auto":
        name = "bfloat16" if model != "tiny" and has_fast_bfloat16(device) else "float32"
    if name not in ("float32", "bfloat16"):
        raise UnknownModelError(f"unknown dtype {name!r}; choose from float32, bfloat16, auto")
    return getattr(torch, name)
