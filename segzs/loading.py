"""load(): models found, checked and put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from os import PathLike
from typing import Any, Literal

import torch

from segzs.clip.build import load_clip
from segzs.clip.crops import Cropping, encode_object
from segzs.clip.dense import tower_of
from segzs.clip.exemplars import Exemplars, viewer
from segzs.clip.namers import Labels, check_names, namer_of, shown_to, vocabulary_of
from segzs.clip.naming import Namer, check_naming
from segzs.errors import ModelError, UnknownModelError
from segzs.image import read_image
from segzs.models.environment import multiplies_bfloat16
from segzs.models.registry import ClipCheckpoint, preset
from segzs.models.settings import ENGINES, default_engine, default_model, embeddings_folder, graphs_folder
from segzs.models.store import locate_clip, locate_sam
from segzs.sam.build import load_sam
from segzs.sam.cache import EmbeddingCache
from segzs.sam.engine import compiled
from segzs.segmenter import Examples, Segmenter

CROPPING = tuple(field.name for field in fields(Cropping))


def load(
    model: str | None = None,
    *,
    sam: str | None = None,
    clip: str | None = None,
    labels: Labels | None = None,
    templates: str | Sequence[str] | None = None,
    weighting: str = "mean",
    examples: Examples | None = None,
    unknown: float | Literal["auto"] | None = "auto",
    background: str | None = None,
    margin: float | None = None,
    scales: Sequence[float] | None = None,
    naming: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    engine: str | None = None,
    cache: bool = True,
    quiet: bool = False,
) -> Segmenter:
    """Load a SAM and a CLIP; nothing is downloaded.

    Args:
        model: a preset: "tiny" (embedded; the default, or SEGZS_MODEL), "mobile", "vit_b", "vit_l", "vit_h".
        sam: another SAM than the preset's: a name, or ``ARCHITECTURE:FILE``.
        clip: another CLIP than the preset's: ``ARCHITECTURE:TAG``, ``hf-hub:ORG/NAME``, a folder, a file.
        labels: a list, comma-separated text, a file, or "imagenet", "coco", "ade20k" or "everyday" (``["coco"]`` is the
            label); see `Vocabulary.of`. Left out, the general vocabulary of the CLIP.
        templates: sentences with ``{}``, or open_clip's "simple" (7) or "imagenet" (80), or "plain" (1); left out,
            those of the labels' file, else what suits the CLIP.
        weighting: of several templates, "mean" trusts all alike; "autoclip" weighs them anew for every object.
        examples: names by showing: a file that `Exemplars.save` wrote, or pictures under their labels; see
            `Segmenter.with_examples`.
        unknown: what labels must beat: "auto" is general words that are none of them, and the vocabulary's negatives;
            a number is a fixed cosine similarity, beside the negatives; None never says "unknown".
        background: what becomes of the pixels around an object before it is named: "blur", "grey", "keep", or "cut":
            the object alone, as large as its box, on the model's own mean colour; left out, what suits the model.
        margin: context around an object's box before it is named, as a share of its longer side; left out, what suits
            the model.
        scales: how many times as large as that the object is shown, such as (1, 2): the mean of what CLIP sees
            counts, and each scale takes its time; left out, what suits the model.
        naming: "crops" shows CLIP every object by itself; "pooled" shows it the whole image once and names masks by
            what it saw there: far faster for hundreds of masks, and less exact, and ``background``, ``margin`` and
            ``scales`` are of no account; "both" takes the mean of the two. Left out, what suits the model.
        device: "cpu", "cuda", "mps", or "auto".
        dtype: "float32", "bfloat16", or "auto": bfloat16 where the device multiplies it clearly faster. The embedded
            models stay in float32, so that they answer alike everywhere.
        engine: what computes SAM: "torch" (the default, or SEGZS_ENGINE), or "openvino", faster on CPUs; it needs the
            extra ``segzs[openvino]`` and converts each SAM once. Where it cannot, torch does, with a warning.
        cache: keep encoded images, long vocabularies' features (up to 4 GiB) and converted models on disk; see
            ``segzs cache``.
        quiet: show no progress on stderr while a model is converted.

    Raises:
        ModelError: a model, device, dtype or engine is unknown or not on this machine; says what to run. Or ``naming``
            is "pooled" or "both" and the CLIP's image tower does not allow it.
        WeightsError: a checkpoint is damaged or another one.
        VocabularyError: the labels cannot name anything.
        UsageError: ``unknown``, ``background``, ``margin``, ``scales``, ``naming`` or ``weighting`` is out of range.

    >>> segmenter = load(labels=["apple", "pear"])
    >>> segmenter.model
    'tiny+tiny'
    """
    if naming is not None:
        check_naming(naming)
    check_names(weighting, unknown)
    for option, spec in (("model", model), ("sam", sam), ("clip", clip)):
        if not isinstance(spec, str | PathLike | None):
            raise UnknownModelError(f"{option} is {spec!r}; the name of a model is expected, see: segzs models")
    engine = engine or default_engine()
    if engine not in ENGINES:
        known = ", ".join(ENGINES)
        raise UnknownModelError(
            f"there is no engine {engine!r}, which --engine, load or SEGZS_ENGINE asks for; there are {known}"
        )
    chosen = preset(model or default_model())
    place = resolve_device(device)
    sam_file, clip_files = locate_sam(sam or chosen.sam), locate_clip(clip or chosen.clip)
    cropping = _cropping(clip_files.row, background=background, margin=margin, scales=scales)
    sam_dtype = resolve_dtype(dtype, place, sam_file.row.name)
    if engine == "openvino":
        sam_model = compiled(load_sam(sam_file, place), sam_dtype, graphs_folder() if cache else None, quiet=quiet)
    else:
        sam_model = load_sam(sam_file, place, sam_dtype)
    clip_model = load_clip(clip_files, place, resolve_dtype(dtype, place, clip_files.row.name))
    naming = naming or clip_files.row.naming
    if naming != "crops":
        tower_of(clip_model)  # raises where there is no way
    embeddings = EmbeddingCache(embeddings_folder() if cache else None)
    segmenter = Segmenter(
        sam=sam_model,
        namer=namer_of(clip_model, vocabulary_of(clip_model, labels, templates), unknown, weighting, embeddings),
        cropping=cropping,
        templates=templates,
        naming=naming,
        cache=embeddings,
    )
    return segmenter if examples is None else segmenter.with_examples(examples)


def load_namer(
    model: str | None = None,
    *,
    clip: str | None = None,
    labels: Labels | None = None,
    templates: str | Sequence[str] | None = None,
    weighting: str = "mean",
    examples: Examples | None = None,
    unknown: float | Literal["auto"] | None = "auto",
    device: str = "auto",
    dtype: str = "auto",
    cache: bool = True,
) -> Namer:
    """Load only what names whole pictures, the CLIP and the labels; arguments and errors are those of `load`."""
    check_names(weighting, unknown)
    files, place = locate_clip(clip or preset(model or default_model()).clip), resolve_device(device)
    loaded = load_clip(files, place, resolve_dtype(dtype, place, files.row.name))
    embeddings = EmbeddingCache(embeddings_folder() if cache else None)
    namer = namer_of(loaded, vocabulary_of(loaded, labels, templates), unknown, weighting, embeddings)
    if examples is None:
        return namer
    seen_by = viewer(loaded, repr(_cropping(files.row)))
    known = Exemplars.of(examples, lambda shown: encode_object(loaded, read_image(shown)), seen_by)
    return shown_to(namer, known, embeddings)


def _cropping(row: ClipCheckpoint, **chosen: Any) -> Cropping:
    """How objects are shown to a CLIP: as chosen, and where that is None as suits the model."""
    return Cropping(**{name: getattr(row, name) if (of := chosen.get(name)) is None else of for name in CROPPING})


def resolve_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA, else Apple's MPS, else the CPU.

    Raises:
        ModelError: PyTorch has no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"the device {name!r} cannot be used here ({reason}); try cpu") from error
    return device


def resolve_dtype(name: str, device: torch.device, model: str) -> torch.dtype:
    """What a model computes with; see `load`.

    Raises:
        UnknownModelError: there is no such type.
    """
    if name == "auto":
        name = "bfloat16" if model != "tiny" and multiplies_bfloat16(device.type) else "float32"
    if name not in ("float32", "bfloat16"):
        raise UnknownModelError(f"the dtype {name!r} is unknown; 'float32', 'bfloat16' or 'auto' is expected")
    return getattr(torch, name)
