"""load() and Segmenter: the stages composed. It holds models, and no image."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from segzs.checks import check_number
from segzs.clip.build import ClipModel, load_clip
from segzs.clip.crops import Cropping, encode_masks
from segzs.clip.dense import VERSION as DENSE_VERSION
from segzs.clip.dense import cell_features, dense_features, pool, tower_of
from segzs.clip.naming import Namer, check_naming, encode_pictures
from segzs.clip.vocabulary import (
    TEXT_BATCH,
    Vocabulary,
    encode_labels,
    general_features,
    general_vocabulary,
    unknown_words,
    usual_templates,
)
from segzs.errors import ModelError, PromptError
from segzs.image import Image, ImageSource, read_image
from segzs.maps import SURE, MapWarning, SemanticMap, panoptic_segments, semantic_map
from segzs.masks import RLE, Masks
from segzs.merging import merged
from segzs.models.environment import multiplies_bfloat16
from segzs.models.registry import preset
from segzs.models.settings import default_engine, default_model, embeddings_folder, graphs_folder
from segzs.models.store import locate_clip, locate_sam
from segzs.prompts import Prompt
from segzs.sam.build import SamModel, load_sam
from segzs.sam.cache import EmbeddingCache
from segzs.sam.decode import decode
from segzs.sam.encode import EncodedImage
from segzs.sam.engine import compiled
from segzs.sam.everything import EverythingOptions
from segzs.sam.tiles import everything_in_tiles
from segzs.segments import Name, Segment, Segments

Labels = Vocabulary | str | PathLike[str] | Iterable[str]


class UnfamiliarWarning(UserWarning):
    """The embedded models are used on something that they were not made for."""


@dataclass(frozen=True, eq=False, repr=False)
class Segmenter:
    """A SAM and a CLIP that segment and name; make one with `load`.

    No image is part of its state, so one `Segmenter` serves many threads and many images at once. What SAM and CLIP saw
    of images, and the features of labels, are remembered in its ``cache``.
    """

    sam: SamModel
    namer: Namer
    cropping: Cropping
    templates: str | Sequence[str] | None = None
    naming: str = "crops"
    cache: EmbeddingCache = field(default_factory=EmbeddingCache, repr=False)

    def __repr__(self) -> str:
        return f"Segmenter({self.model}, {len(self.vocabulary.labels)} labels, {self.sam.device})"

    def encode(self, source: ImageSource, *, bgr: bool = False) -> EncodedImage:
        """Run SAM's image encoder on a picture, once; see `read_image` for what a picture may be.

        The answer is kept in the `cache`: the same pixels are not encoded again, today or tomorrow.

        Raises:
            ImageError: it is no picture.
        """
        return self.cache.encode(self.sam, read_image(source, bgr=bgr))

    @overload
    def segment(self, photo: EncodedImage, prompts: Prompt) -> Segment: ...
    @overload
    def segment(self, photo: EncodedImage, prompts: Sequence[Prompt]) -> Segments: ...
    def segment(self, photo: EncodedImage, prompts: Prompt | Sequence[Prompt]) -> Segment | Segments:
        """The best mask of each prompt, named: one prompt gives a `Segment`, a list gives `Segments`.

        Raises:
            PromptError: a prompt lies outside the image.
            ModelMismatchError: another model encoded the image.
        """
        _check_encoded(photo)
        if isinstance(prompts, Prompt):
            return self._named(photo.image, decode(self.sam, photo, [prompts]))[0]
        return self._named(photo.image, decode(self.sam, photo, _checked(prompts)))

    def candidates(self, photo: EncodedImage, prompt: Prompt) -> Segments:
        """Three masks for one prompt, best first: part, whole, or whatever the model takes it for.

        Raises:
            PromptError: the prompt lies outside the image.
            ModelMismatchError: another model encoded the image.
        """
        _check_encoded(photo)
        (masks,) = decode(self.sam, photo, _checked([prompt]), several=True)
        return self._named(photo.image, [_single(masks, index) for index in range(len(masks))])

    def everything(
        self,
        photo: EncodedImage,
        *,
        points_per_side: int | None = None,
        predicted_iou: float | None = None,
        stability: float | None = None,
        duplicate_iou: float = 0.7,
        min_area: int = 100,
        max_masks: int | None = None,
        adaptive: bool = False,
        tiles: int = 1,
        merge: bool = False,
        progress: Callable[[float], object] | None = None,
    ) -> Segments:
        """Every object of an image, named, largest first.

        Args:
            photo: the encoded image.
            points_per_side: how many points a side of the grid has; None is the model's own number, as below.
            predicted_iou: masks that SAM thinks worse of are dropped.
            stability: masks whose outline depends more on the threshold are dropped.
            duplicate_iou: of two masks that overlap more, the better one stays.
            min_area: smaller masks, in image pixels, are dropped.
            max_masks: keep only the best so many.
            adaptive: do not ask where a mask that passed the filters lies already: faster, and finds a little less.
            tiles: look again at so many overlapping tiles a side, each at the model's full resolution: for small
                objects in large pictures; each tile takes as long as the picture.
            merge: join fragments with one name that touch, where CLIP finds their union at least as like it, and drop
                what lies in another segment with its name.
            progress: called with the share done, from 0 to 1; what it raises ends the search.

        Raises:
            PromptError: an option is out of range.
            ModelMismatchError: another model encoded the image.
        """
        _check_encoded(photo)
        options = EverythingOptions(
            points_per_side, predicted_iou, stability, duplicate_iou, min_area, max_masks, adaptive, tiles, merge
        )
        look = partial(self.cache.encode, self.sam)
        found = self._named(photo.image, everything_in_tiles(self.sam, look, photo, options, progress))
        return merged(found, lambda masks: self.namer.names(self._look(photo.image, masks))) if merge else found

    def name(self, segments: Segments) -> Segments:
        """The same masks with names of this segmenter's vocabulary.

        Raises:
            PromptError: it is given something else than `Segments`.
        """
        if not isinstance(segments, Segments):
            raise PromptError(f"{type(segments).__name__} is not Segments; give what everything() or a list found")
        names = self._names(segments.image, [segment.rle for segment in segments])
        items = tuple(replace(segment, names=ranked) for segment, ranked in zip(segments, names, strict=True))
        origin = segments.model.partition("+")[0]
        return Segments(segments.image, items, f"{origin}+{self.clip.row.name}" if origin else self.clip.row.name)

    def semantic(self, photo: EncodedImage, segments: Segments | None = None, *, sure: float = SURE) -> SemanticMap:
        """One label for every pixel: of named masks, and where there are none what CLIP sees there, or "unknown".

        Args:
            photo: the encoded image.
            segments: named segments of it; left out, `everything`.
            sure: so probable a label must be, where there is no mask, to be more than "unknown"; 1 is masks alone.

        Raises:
            PromptError: the segments are none, or of another image.
            SegzsError: ``sure`` is not from 0 to 1.
            ModelMismatchError: another model encoded the image.

        Warns:
            MapWarning: the CLIP can only look at whole pictures, so that all is "unknown" but the masks.
        """
        found = self._found(photo, segments)
        return semantic_map(found, self.vocabulary.labels, self._cells(photo.image), sure)

    def panoptic(self, photo: EncodedImage, segments: Segments | None = None, *, sure: float = SURE) -> Segments:
        """Segments that do not overlap and cover all that `semantic` knows; the arguments and errors are its."""
        found = self._found(photo, segments)
        return panoptic_segments(found, self.semantic(photo, found, sure=sure))

    def classify(self, source: ImageSource) -> tuple[Name, ...]:
        """The most probable names of a whole picture, best first."""
        return self.namer.names(encode_pictures(self.clip, [read_image(source).pixels]))[0]

    def with_labels(self, labels: Labels, *, templates: str | Sequence[str] | None = None) -> Segmenter:
        """The same models with other labels, and the same templates unless others are given; images stay encoded.

        Raises:
            VocabularyError: nothing can be named with these.
        """
        vocabulary = _vocabulary(self.clip, labels, self.templates if templates is None else templates)
        features = _features(self.clip, vocabulary, self.cache)
        return replace(self, namer=replace(self.namer, vocabulary=vocabulary, label_features=features))

    @property
    def clip(self) -> ClipModel:
        """The model that names."""
        return self.namer.clip

    @property
    def vocabulary(self) -> Vocabulary:
        """The labels that objects may get."""
        return self.namer.vocabulary

    @property
    def model(self) -> str:
        """Which models these are, as ``sam+clip``."""
        return f"{self.sam.row.name}+{self.clip.row.name}"

    def _named(self, image: Image, masks: Sequence[Masks]) -> Segments:
        names = self._names(image, [m.rles[0] for m in masks])
        items = tuple(
            Segment(
                rle=m.rles[0],
                predicted_iou=float(m.predicted_iou[0]),
                stability=float(m.stability[0]),
                names=ranked,
                low_res_logits=m.low_res_logits[0],
            )
            for m, ranked in zip(masks, names, strict=True)
        )
        return Segments(image, items, self.model)

    def _names(self, image: Image, rles: Sequence[RLE]) -> list[tuple[Name, ...]]:
        if not rles:
            return []
        features = self._look(image, rles)
        if self.naming == "crops":  # only of crops is it known what is usual
            self._say_if_unfamiliar(features[[rle.area > 0 for rle in rles]])
        return self.namer.names(features)

    def _look(self, image: Image, rles: Sequence[RLE]) -> Tensor:
        """Normalised image features of masks (N, width)."""
        check_naming(self.naming)
        if self.naming == "pooled":
            return pool(self.clip, self._dense(image), rles)
        return encode_masks(self.clip, image.pixels, rles, self.cropping)

    def _found(self, photo: EncodedImage, segments: Segments | None) -> Segments:
        _check_encoded(photo)
        if segments is None:
            return self.everything(photo)
        if not isinstance(segments, Segments) or segments.image != photo.image:
            raise PromptError(f"{segments!r} is not Segments of this image; give what everything() or a list found")
        return segments

    def _cells(self, image: Image) -> np.ndarray | None:
        """The probability of each label in each cell of a grid over an image, "unknown" last."""
        try:
            tower_of(self.clip)
        except ModelError as error:
            warnings.warn(f'between masks all is "unknown": {error}', MapWarning, stacklevel=3)
            return None
        features = cell_features(self.clip, self._dense(image))
        return self.namer.probabilities(features.flatten(0, 1)).unflatten(0, features.shape[:2]).cpu().numpy()

    def _dense(self, image: Image) -> Tensor:
        """What CLIP sees all over an image, once: the next click on it is named from memory."""
        clip = self.clip
        origin = f"{image.digest} {clip.digest} {clip.config} {clip.dtype} dense {DENSE_VERSION}"
        dense = self.cache.remember(origin, lambda: dense_features(clip, image.pixels), on_disk=False)
        return dense.to(clip.device, torch.float32)

    def _say_if_unfamiliar(self, features: Tensor) -> None:
        """Warn when the embedded CLIP recognises hardly any of the objects: a photograph, most likely."""
        if self.clip.row.familiar is None or not len(features):
            return
        best = (features @ general_features(self.clip).T).amax(1)
        if best.median() < self.clip.row.familiar:
            warnings.warn(
                "the embedded tiny models know drawings and emoji, and this looks like something else; for photographs "
                "run `segzs fetch vit_b`, then use --model vit_b (in Python: load('vit_b'))",
                UnfamiliarWarning,
                stacklevel=5,
            )


def load(
    model: str | None = None,
    *,
    sam: str | None = None,
    clip: str | None = None,
    labels: Labels | None = None,
    templates: str | Sequence[str] | None = None,
    unknown: float | Literal["auto"] | None = "auto",
    background: str | None = None,
    margin: float | None = None,
    scales: Sequence[float] | None = None,
    naming: str = "crops",
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
        labels: a list, comma-separated text, or a file; left out, the general vocabulary of the CLIP.
        templates: sentences with ``{}``, or open_clip's "simple" (7) or "imagenet" (80).
        unknown: the cosine similarity that a label must reach to beat "unknown"; "auto" is the model's own,
            None never says "unknown".
        background: what becomes of the pixels around an object before it is named: "blur", "grey", "keep", or "cut":
            the object alone, as large as its box, on the model's own mean colour; left out, what suits the model.
        margin: context around an object's box before it is named, as a share of its longer side; left out, what suits
            the model.
        scales: how many times as large as that the object is shown, such as (1, 2): the mean of what CLIP sees
            counts, and each scale takes its time; left out, what suits the model.
        naming: "crops" shows CLIP every object by itself; "pooled" shows it the whole image once and names masks by
            what it saw there: far faster for hundreds of masks, and less exact. ``background``, ``margin`` and
            ``scales`` are of no account then.
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
            is "pooled" and the CLIP's image tower does not allow it.
        WeightsError: a checkpoint is damaged or another one.
        VocabularyError: the labels cannot name anything.
        SegzsError: ``unknown``, ``background``, ``margin``, ``scales`` or ``naming`` is out of range.

    >>> segmenter = load(labels=["apple", "pear"])
    >>> segmenter.model
    'tiny+tiny'
    """
    check_naming(naming)
    if unknown is not None and unknown != "auto":
        check_number("unknown", unknown, "a cosine similarity from -1 to 1, 'auto' or None", -1, 1)
    for option, spec in (("model", model), ("sam", sam), ("clip", clip)):
        if not isinstance(spec, str | PathLike | None):
            raise ModelError(f"{option} is {spec!r}; the name of a model is expected, see: segzs models")
    engine = engine or default_engine()
    if engine not in ("torch", "openvino"):
        raise ModelError(f"the engine {engine!r} is unknown; 'torch' or 'openvino' is expected")
    chosen = preset(model or default_model())
    place = resolve_device(device)
    sam_file, clip_files = locate_sam(sam or chosen.sam), locate_clip(clip or chosen.clip)
    shown: dict[str, Any] = {"background": background, "margin": margin, "scales": scales}
    cropping = Cropping(**{name: getattr(clip_files.row, name) if of is None else of for name, of in shown.items()})
    sam_dtype = resolve_dtype(dtype, place, sam_file.row.name)
    if engine == "openvino":
        sam_model = compiled(load_sam(sam_file, place), sam_dtype, graphs_folder() if cache else None, quiet=quiet)
    else:
        sam_model = load_sam(sam_file, place, sam_dtype)
    clip_model = load_clip(clip_files, place, resolve_dtype(dtype, place, clip_files.row.name))
    if naming == "pooled":
        tower_of(clip_model)  # raises where there is no way
    vocabulary = _vocabulary(clip_model, labels, templates)
    embeddings = EmbeddingCache(embeddings_folder() if cache else None)
    return Segmenter(
        sam=sam_model,
        namer=Namer(
            clip=clip_model,
            vocabulary=vocabulary,
            label_features=_features(clip_model, vocabulary, embeddings),
            unknown=clip_model.unknown if unknown == "auto" else unknown,
        ),
        cropping=cropping,
        templates=templates,
        naming=naming,
        cache=embeddings,
    )


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
        ModelError: there is no such type.
    """
    if name == "auto":
        name = "bfloat16" if model != "tiny" and multiplies_bfloat16(device.type) else "float32"
    if name not in ("float32", "bfloat16"):
        raise ModelError(f"the dtype {name!r} is unknown; 'float32', 'bfloat16' or 'auto' is expected")
    return getattr(torch, name)


def _vocabulary(clip: ClipModel, labels: Labels | None, templates: str | Sequence[str] | None) -> Vocabulary:
    if labels is None:
        general = general_vocabulary(clip)
        return general if templates is None else Vocabulary.of(general, templates)
    if templates is None and not isinstance(labels, Vocabulary):
        templates = usual_templates(clip)
    vocabulary = Vocabulary.of(labels, templates)
    if strange := unknown_words(clip, vocabulary):
        shown = ", ".join(map(repr, strange[:5])) + (", ..." if len(strange) > 5 else "")
        warnings.warn(
            f"the embedded CLIP never saw some words of {shown} and will name badly with them; models that know all "
            "words: segzs models",
            UnfamiliarWarning,
            stacklevel=3,
        )
    return vocabulary


def _features(clip: ClipModel, vocabulary: Vocabulary, cache: EmbeddingCache) -> Tensor:
    """The labels' features, remembered: on disk as well where the text tower took its time."""
    if clip.row.name == "tiny" and vocabulary == general_vocabulary(clip):
        return general_features(clip)
    features = cache.remember(
        f"{vocabulary.digest} {clip.digest} {clip.config} labels",
        lambda: encode_labels(clip, vocabulary),
        on_disk=len(vocabulary.labels) * len(vocabulary.templates) > TEXT_BATCH,
    )
    return features.to(clip.device, torch.float32)


def _single(masks: Masks, index: int) -> Masks:
    part = slice(index, index + 1)
    return Masks(masks.rles[part], masks.predicted_iou[part], masks.stability[part], masks.low_res_logits[part])


def _check_encoded(photo: object) -> None:
    if not isinstance(photo, EncodedImage):
        raise PromptError(f"{type(photo).__name__} is not an encoded image; call segmenter.encode(picture) once first")


def _checked(prompts: Iterable[Prompt]) -> list[Prompt]:
    if not isinstance(prompts, Iterable):
        raise PromptError(f"{prompts!r} is neither a Prompt nor a list of them")
    prompts = list(prompts)
    for prompt in prompts:
        if not isinstance(prompt, Prompt):
            raise PromptError(
                f"{prompt!r} is not a Prompt; use Prompt.point(x, y), Prompt.box(x1, y1, x2, y2) or Prompt(...)"
            )
    return prompts
