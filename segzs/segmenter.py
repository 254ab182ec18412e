"""Segmenter: the stages composed. It holds models, and no image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from os import PathLike
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from segzs.checks import check_number
from segzs.clip.both import encode_both
from segzs.clip.build import ClipModel
from segzs.clip.crops import Cropping, encode_masks, encode_object
from segzs.clip.dense import VERSION as DENSE_VERSION
from segzs.clip.dense import cell_features, dense_features, pool, tower_of
from segzs.clip.exemplars import Exemplars, viewer
from segzs.clip.finding import best, encode_words, resembled, said
from segzs.clip.labels import named
from segzs.clip.namers import Labels, familiarity, general_of, relabelled, say_if_unfamiliar, shown_to, vocabulary_of
from segzs.clip.naming import Namer, check_naming, encode_pictures
from segzs.clip.recognition import recognised
from segzs.clip.vocabulary import Vocabulary
from segzs.errors import ModelError, PromptError, warn
from segzs.image import Image, ImageSource, read_image
from segzs.maps import SURE, MapWarning, SemanticMap, panoptic_segments, semantic_map
from segzs.masks import RLE, Masks
from segzs.merging import is_known, merged
from segzs.prompts import Prompt
from segzs.regions import Regions
from segzs.sam.build import SamModel
from segzs.sam.cache import EmbeddingCache
from segzs.sam.decode import decode
from segzs.sam.encode import EncodedImage
from segzs.sam.everything import EverythingOptions
from segzs.sam.tiles import everything_in_tiles
from segzs.segments import Name, Segment, Segments

Example = Segments | ImageSource
Examples = Exemplars | str | PathLike[str] | Mapping[str, Example | Iterable[Example]]


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
        merge: bool = True,
        progress: Callable[[float], object] | None = None,
    ) -> Segments:
        """Every object of an image, named, largest first.

        Args:
            photo: the encoded image.
            points_per_side: how many points a side of the grid has; None is the model's own number, as below.
            predicted_iou: masks that SAM thinks worse of are dropped; None is the model's own, as below. With the
                embedded pair, neither this nor ``stability``, and crops, CLIP chooses among masks that reach less: what
                it recognises may be less certain, and of what lies in each other the worse and less familiar goes.
            stability: masks whose outline depends more on the threshold are dropped.
            duplicate_iou: of two masks that overlap more, the better one stays.
            min_area: smaller masks, in image pixels, are dropped.
            max_masks: keep only the best so many.
            adaptive: ask every second point of every second row, and of the others those on and beside what was found:
                fewer, for nearly the same masks; what lies between 16 points a side may be missed.
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
            points_per_side=points_per_side,
            predicted_iou=predicted_iou,
            stability=stability,
            duplicate_iou=duplicate_iou,
            min_area=min_area,
            max_masks=max_masks,
            adaptive=adaptive,
            tiles=tiles,
            merge=merge,
        )
        found = self._named(photo.image, *self._objects(photo, options, progress))
        return merged(found, lambda masks: self.namer.names(self._features(photo.image, masks))) if merge else found

    def find(
        self,
        photo: EncodedImage,
        words: str | None = None,
        *,
        like: Segment | Segments | ImageSource | None = None,
        among: Segments | None = None,
        least: float = 0.5,
        progress: Callable[[float], object] | None = None,
        **everything: Any,
    ) -> Segments:
        """The objects that words describe, or that are like an example: best first, none where none is.

        Each is named by the words, or by the example's name, and its probability is how well it fits, from 0 to 1. Of
        masks inside each other one is given. ``segmenter.find(photo, "the red mug")``

        Args:
            photo: the encoded image.
            words: what to look for.
            like: or an example instead of words: a segment of this photo, `Segments` of any, a picture of one object.
            among: look at these segments of the photo; left out, at everything, where masks that SAM thinks worse of
                count as well, as the words choose among them.
            least: what fits less is left out. A half says that the words get some times more than their share among
                the words of the general vocabulary; or that it is clearly nearer to the example than others are.
            progress: called with the share of `everything` that is done, from 0 to 1.
            **everything: options of `everything`, but not ``merge``, which joins what has one name.

        Raises:
            PromptError: neither or both of words and an example are given, or an option is out of range.
            VocabularyError: there are no words in ``words``.
            ModelMismatchError: another model encoded the image.
        """
        _check_encoded(photo)
        if (words is None) == (like is None):
            raise PromptError("say what to look for: either words, or an example with like=")
        check_number("least", least, "a number from 0 to 1", 0, 1, error=PromptError)
        if "merge" in everything:
            raise PromptError("merge joins fragments of one name, and here nothing has a name yet; leave it out")
        query = encode_words(self.clip, words) if words is not None else self._seen(like, photo).mean(0)
        if among is None:
            found = self._everything(photo, EverythingOptions(**everything), progress, lenient=True)
            among = Segments(photo.image, tuple(map(_segment, found)), self.model)
        elif not isinstance(among, Segments) or among.image != photo.image or everything:
            raise PromptError("among takes Segments of this image, and no options of everything mode beside it")
        if not among:
            return among
        rles = [segment.rle for segment in among]
        features = self._features(photo.image, rles)
        if self.naming != "pooled":
            say_if_unfamiliar(self.clip, features)
        stability = torch.tensor([segment.stability for segment in among])
        if words is not None:
            scores = said(self.clip, features, query, stability, general_of(self.clip, self.cache))
        else:
            scores = resembled(features, query, stability)
            words = like.name if isinstance(like, Segment) and is_known(like) else "like the example"
        chosen = best(rles, scores, least)
        items = tuple(replace(among[i], names=(Name(words, float(scores[i])),)) for i in chosen)
        return Segments(among.image, items, among.model)

    def regions(self, photo: EncodedImage, found: Any) -> Segments:
        """What a detector found, segmented and named, in its order: boxes get masks, masks stay as they are.

        Args:
            photo: the encoded image.
            found: boxes (N, 4) as x1 y1 x2 y2, bool masks (N, height, width), COCO results or a file of them, or
                `supervision.Detections`; see `Regions.of`.

        Raises:
            PromptError: it is none of these, or a region lies outside of the image.
            AnnotationError: a file cannot be read.
            ModelMismatchError: another model encoded the image.
        """
        _check_encoded(photo)
        regions = Regions.of(found, photo.image)
        masks = iter(decode(self.sam, photo, regions.boxes) if regions.boxes else ())
        items = (_segment(next(masks)) if isinstance(one, Prompt) else Segment(one, 1.0, 1.0) for one in regions.items)
        return self.name(Segments(photo.image, tuple(items), self.model))

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

        A `Vocabulary`, or a file that has templates, keeps its own. Examples stay as well, and count for those of the
        labels that they show.

        Raises:
            VocabularyError: nothing can be named with these.
        """
        vocabulary = vocabulary_of(self.clip, labels, templates, self.templates)
        usual = self.templates if templates is None else templates
        return replace(self, namer=relabelled(self.namer, vocabulary, self.cache), templates=usual)

    def with_examples(self, examples: Examples) -> Segmenter:
        """The same models that also name by what is shown to them, besides what was shown before; images stay encoded.

        Labels that are not in the vocabulary join it. `Segmenter.examples` saves them.

        Args:
            examples: under the name of each label one example or a list, `Segments` or pictures of one object each; or
                a file that ``segmenter.examples.save`` wrote.

        Raises:
            AnnotationError: the file is none of examples.
            ImageError: an example is no picture.
            VocabularyError: a name cannot be a label.
            ModelMismatchError: the examples were seen by another CLIP.
        """
        looks = {"crops": repr(self.cropping), "both": f"both {self.cropping}"}.get(self.naming, self.naming)
        known = Exemplars.of(examples, self._seen, viewer(self.clip, looks))
        return replace(self, namer=shown_to(self.namer, known, self.cache))

    def with_example(
        self, shown: Segment | Segments | ImageSource, name: str, *, photo: EncodedImage | None = None
    ) -> Segmenter:
        """The same models that know what is shown by that name: a corrected name becomes an example.

        ``segmenter = segmenter.with_example(photo_segments[3], "coffee mug", photo=photo)``

        Args:
            shown: a segment of ``photo``, or `Segments`, or a picture of one object.
            name: what it is called.
            photo: the encoded image that a single segment lies on.

        Raises:
            PromptError: a segment comes without its photo.
            VocabularyError: the name cannot be a label.
        """
        if isinstance(shown, Segment):
            if photo is None:
                raise PromptError("a segment alone has no pixels; say with photo= which encoded image it lies on")
            _check_encoded(photo)
            shown = Segments(photo.image, (shown,))
        return self.with_examples({named(name): [shown]})

    @property
    def examples(self) -> Exemplars | None:
        """What was shown to it; ``segmenter.examples.save(path)`` keeps it for `load` and `with_examples`."""
        return self.namer.exemplars

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

    @property
    def settings(self) -> dict[str, Any]:
        """What its answers depend on besides pictures, prompts and options, as plain values for JSON."""
        return {
            "sam": {**_about(self.sam), "engine": self.sam.engine},
            "clip": _about(self.clip),
            "device": self.sam.device.type,
            "vocabulary": self.vocabulary.digest,
            "unknown": self.namer.unknown,
            "weighting": "mean" if self.namer.sentences is None else "autoclip",
            **({"examples": self.examples.digest} if self.examples else {}),
            "naming": self.naming,
            **asdict(self.cropping),
            "scales": list(self.cropping.scales),
        }

    def _named(self, image: Image, masks: Sequence[Masks], features: Tensor | None = None) -> Segments:
        names = self._names(image, [m.rles[0] for m in masks], features)
        items = tuple(_segment(m, ranked) for m, ranked in zip(masks, names, strict=True))
        return Segments(image, items, self.model)

    def _everything(
        self,
        photo: EncodedImage,
        options: EverythingOptions,
        progress: Callable[[float], object] | None,
        *,
        lenient: bool = False,
    ) -> list[Masks]:
        encode = partial(self.cache.encode, self.sam)
        return everything_in_tiles(self.sam, encode, photo, options, progress, lenient=lenient)

    def _objects(
        self, photo: EncodedImage, options: EverythingOptions, progress: Callable[[float], object] | None
    ) -> tuple[list[Masks], Tensor | None]:
        """Everything mode's masks; where the CLIP chose, with what it sees of them."""
        sam, familiar = self.sam.row, self.clip.row.familiar
        asked = options.predicted_iou is not None or options.stability is not None
        if asked or familiar is None or not sam.chosen_by_clip or self.naming == "pooled":
            return self._everything(photo, options, progress), None
        masks = self._everything(photo, replace(options, max_masks=None), progress, lenient=True)
        if not masks:
            return masks, None
        features = self._features(photo.image, [each.rles[0] for each in masks])
        sure = [each.predicted_iou[0] >= sam.predicted_iou and each.stability[0] >= sam.stability for each in masks]
        say_if_unfamiliar(self.clip, features[sure] if any(sure) else features)  # those chosen are familiar, of course
        ranked = recognised(masks, familiarity(self.clip, features), sam, familiar)
        kept = sorted(ranked[: options.max_masks])  # largest first, as they were
        return [masks[index] for index in kept], features[kept]

    def _names(self, image: Image, rles: Sequence[RLE], features: Tensor | None = None) -> list[tuple[Name, ...]]:
        """Names of masks; of known features nothing is said to be unfamiliar."""
        if not rles:
            return []
        if features is not None:
            return self.namer.names(features)
        features = self._features(image, rles)
        if self.naming != "pooled":  # only of crops is it known what is usual
            say_if_unfamiliar(self.clip, features[[rle.area > 0 for rle in rles]])
        return self.namer.names(features)

    def _features(self, image: Image, rles: Sequence[RLE]) -> Tensor:
        """What CLIP sees of masks, normalised: (N, width)."""
        check_naming(self.naming)
        if self.naming == "pooled":
            return pool(self.clip, self._dense(image), rles)
        if self.naming == "both":
            return encode_both(self.clip, image.pixels, self._dense(image), rles, self.cropping)
        return encode_masks(self.clip, image.pixels, rles, self.cropping)

    def _seen(self, shown: Segment | Segments | ImageSource, photo: EncodedImage | None = None) -> Tensor:
        """What CLIP sees of segments, or of a picture of one object: (N, width)."""
        if isinstance(shown, Segment) and photo is not None:
            shown = Segments(photo.image, (shown,))
        if isinstance(shown, Segments):
            if not shown:
                raise PromptError("there is no segment to be shown; Segments of one at least are expected")
            if any((s.rle.height, s.rle.width) != (shown.image.height, shown.image.width) for s in shown):
                raise PromptError("a segment of another image is shown; give it with the image that it lies on")
            return self._features(shown.image, [segment.rle for segment in shown])
        if isinstance(shown, Segment):
            raise PromptError(
                "a segment alone has no pixels; give Segments, as found[:1], or with_example(segment, name, photo=...)"
            )
        image = read_image(shown)
        if self.naming == "pooled":
            return pool(self.clip, self._dense(image), [RLE.encode(np.ones((image.height, image.width), bool))])
        return encode_object(self.clip, image)

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
            warn(f'between masks all is "unknown": {error}', MapWarning)
            return None
        features = cell_features(self.clip, self._dense(image))
        return self.namer.exclusive(features.flatten(0, 1)).unflatten(0, features.shape[:2]).cpu().numpy()

    def _dense(self, image: Image) -> Tensor:
        """What CLIP sees all over an image, once: the next click on it is named from memory."""
        clip = self.clip
        origin = f"{image.digest} {clip.digest} {clip.config} {clip.dtype} dense {DENSE_VERSION}"
        dense = self.cache.remember(origin, lambda: dense_features(clip, image.pixels), on_disk=False)
        return dense.to(clip.device, torch.float32)


def _segment(masks: Masks, names: tuple[Name, ...] = ()) -> Segment:
    return Segment(
        rle=masks.rles[0],
        predicted_iou=float(masks.predicted_iou[0]),
        stability=float(masks.stability[0]),
        names=names,
        low_res_logits=masks.low_res_logits[0],
    )


def _about(model: SamModel | ClipModel) -> dict[str, str]:
    return {"name": model.row.name, "sha256": model.digest, "dtype": str(model.dtype).removeprefix("torch.")}


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
