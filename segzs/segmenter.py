"""Segmenter: composes SAM, the region encoder and the classifier. It holds models, and no image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segzs.cache import EmbeddingCache
from segzs.checks import check_number
from segzs.clip import ood, retrieval
from segzs.clip.classifier import ZeroShotClassifier
from segzs.clip.image_features import encode_images
from segzs.clip.model import ClipModel
from segzs.clip.regions import Example, RegionEncoder
from segzs.clip.support_set import Examples, SupportSet
from segzs.clip.text_features import general_features
from segzs.clip.vocabulary import Labels, Vocabulary
from segzs.detections import read_detections
from segzs.errors import MapWarning, ModelError, PromptError, warn
from segzs.image import Image, ImageSource, read_image
from segzs.masks import RLE, Mask
from segzs.postprocess.maps import MIN_CONFIDENCE, SemanticMap, panoptic_segments, semantic_map
from segzs.postprocess.merging import has_name, merge_segments
from segzs.postprocess.selection import select_masks
from segzs.prompts import Prompt, check_prompts, warn_about_empty, warn_about_units
from segzs.sam.decode import decode
from segzs.sam.encode import EncodedImage, encode_cached, report_blocks
from segzs.sam.mask_generator import GeneratorOptions, Progress
from segzs.sam.model import SamModel
from segzs.sam.tiles import generate_masks_in_tiles
from segzs.sam.zoom import decode_zoomed
from segzs.segments import Name, Segment, Segments


@dataclass(frozen=True, eq=False, repr=False)
class Segmenter:
    """A SAM that segments and a CLIP that names; make one with `load`.

    No image is part of its state, so that one `Segmenter` serves many threads and many images at once. Image embeddings
    and text features are kept in its `cache`. All methods that take an encoded image raise `ModelMismatchError` if
    another model encoded it.
    """

    sam: SamModel
    classifier: ZeroShotClassifier
    region_encoder: RegionEncoder

    def __repr__(self) -> str:
        return f"Segmenter({self.model}, {len(self.vocabulary.labels)} labels, {self.sam.device})"

    def encode(self, source: ImageSource, *, bgr: bool = False, progress: Progress | None = None) -> EncodedImage:
        """Run SAM's image encoder on an image, once; see `read_image` for the sources that it takes.

        The embedding is kept in the `cache`: the same pixels are not encoded again, in this process or another one.

        Args:
            source: the image.
            bgr: the channels of an array or tensor are in OpenCV's order.
            progress: called with the share done, from 0 to 1, after each block of the encoder; an exception that it
                raises cancels.

        Raises:
            ImageError: the image cannot be read.
        """
        image = read_image(source, bgr=bgr)
        if progress is None:
            return encode_cached(self.sam, image, self.cache)
        progress(0.0)
        with report_blocks(self.sam.module, progress):
            encoded = encode_cached(self.sam, image, self.cache)
        progress(1.0)
        return encoded

    def segment(
        self,
        image: EncodedImage,
        prompts: Prompt | Sequence[Prompt],
        *,
        multimask: bool = False,
        zoom: bool | None = None,
    ) -> Segments:
        """The best mask of each prompt, named, in the order of the prompts.

        Args:
            image: the encoded image.
            prompts: one prompt, or one for each object.
            multimask: three masks for each prompt instead of one, best first: part, object, group of objects.
            zoom: encode the part of the image around a small box at a higher resolution, which takes one more pass of
                the image encoder for each small box; None does what suits the SAM.

        Raises:
            PromptError: a prompt lies outside the image, or consists of a mask alone.

        Warns:
            PromptWarning: a prompt is probably in shares of the image, or all of its masks are empty.
        """
        masks = self.decode(image, prompts, multimask=multimask, zoom=zoom)
        return self._named(image.image, [mask for of_prompt in masks for mask in of_prompt])

    def decode(
        self,
        image: EncodedImage,
        prompts: Prompt | Sequence[Prompt],
        *,
        multimask: bool = False,
        zoom: bool | None = None,
    ) -> list[tuple[Mask, ...]]:
        """The masks of each prompt without names; see `segment`."""
        _check_encoded(image)
        prompts = check_prompts(prompts)
        warn_about_units(prompts, image.image.width, image.image.height)
        if self.sam.spec.zoom if zoom is None else zoom:
            masks = decode_zoomed(self.sam, self._encode_part, image, prompts, multimask=multimask)
        else:
            masks = decode(self.sam, image, prompts, multimask=multimask)
        warn_about_empty(prompts, [max(mask.rle.area for mask in of_prompt) for of_prompt in masks])
        return masks

    def everything(self, image: EncodedImage, *, progress: Progress | None = None, **options: Any) -> Segments:
        """Every object of an image, named, largest first.

        If no score threshold is given, the CLIP selects among the masks of the embedded SAM; see `select_masks`.

        Args:
            image: the encoded image.
            progress: called with the share done, from 0 to 1; an exception that it raises cancels the search.
            **options: the fields of `GeneratorOptions`.

        Raises:
            PromptError: an option is unknown or out of range.
        """
        _check_encoded(image)
        generator = _options(options)
        segments = self._named(image.image, *self._objects(image, generator, progress))
        if not generator.merge:
            return segments
        return merge_segments(segments, lambda masks: self._names(image.image, masks, check=False))

    def find(
        self,
        image: EncodedImage,
        text: str | None = None,
        *,
        like: Example | None = None,
        among: Segments | None = None,
        score_threshold: float = 0.5,
        progress: Progress | None = None,
        **options: Any,
    ) -> Segments:
        """The objects that a text describes, or that resemble an example, best first; empty if there is none.

        Each segment is named by the text, or by the example's name, and its probability is its score from 0 to 1. Of
        nested masks only the best is returned.

        Args:
            image: the encoded image.
            text: what to look for, such as "the red mug".
            like: an example instead of a text: a segment, segments, or an image of one object.
            among: segments of the image to choose from; None searches everything, with lower score thresholds.
            score_threshold: leave out segments with a lower score. At 0.5 a text has several times its chance share
                among the general labels; an example is clearly nearer than other objects.
            progress: called with the share done, from 0 to 1; an exception that it raises cancels the search.
            **options: see `everything`; without ``merge``.

        Raises:
            PromptError: both or neither of text and example are given, or an option is unknown or out of range.
            VocabularyError: the text is empty.
        """
        _check_encoded(image)
        if (text is None) == (like is None):
            raise PromptError("find takes either a text or an example; give one, as find(image, 'red mug')")
        check_number("score_threshold", score_threshold, "a number from 0 to 1", 0, 1, error=PromptError)
        if "merge" in options:
            raise PromptError("merge joins masks by name, and find searches masks without names; leave it out")
        if among is not None and options:
            raise PromptError("among replaces everything mode; leave out its options")
        query = (
            retrieval.encode_query(self.clip, text)
            if text is not None
            else self.region_encoder.encode_example(like).mean(0)
        )
        if among is None:
            masks = self._generate(image, _options(options), progress, lenient=True)
            among = Segments(image.image, tuple(map(_segment, masks)), self.model)
        if not _check_segments(image, among):
            return among
        rles = [segment.rle for segment in among]
        features = self.region_encoder.encode(image.image, rles)
        self._check_familiar(features)
        stability = torch.tensor([segment.stability_score for segment in among])
        if text is not None:
            general = general_features(self.clip, self.cache)
            scores = retrieval.text_scores(self.clip, features, query, stability, general)
        else:
            scores = retrieval.example_scores(features, query, stability)
            text = like.name if isinstance(like, Segment) and has_name(like) else "like the example"
        chosen = retrieval.select(rles, scores, score_threshold)
        return among.replace(replace(among[i], names=(Name(text, float(scores[i])),)) for i in chosen)

    def regions(self, image: EncodedImage, detections: Any) -> Segments:
        """Segment and name what a detector detected, in its order: boxes get masks, masks stay as they are.

        Args:
            image: the encoded image.
            detections: boxes (N, 4) as x1 y1 x2 y2, bool masks (N, height, width), COCO results or a file of them, the
                dictionaries of `SamAutomaticMaskGenerator`, or `supervision.Detections`; see `read_detections`.

        Raises:
            PromptError: the detections have another form, or one lies outside the image.
            AnnotationError: the file cannot be read.
        """
        _check_encoded(image)
        regions = read_detections(detections, image.image)
        masks = iter(self.decode(image, [region for region in regions if isinstance(region, Prompt)]))
        items = (Segment(region, 1, 1) if isinstance(region, RLE) else _segment(next(masks)[0]) for region in regions)
        return self.name(Segments(image.image, tuple(items), self.model))

    def name(self, segments: Segments) -> Segments:
        """The same masks with names of this segmenter's vocabulary.

        Raises:
            PromptError: ``segments`` is not `Segments`.
        """
        if not isinstance(segments, Segments):
            raise PromptError(f"cannot name {type(segments).__name__}; give Segments, as segment() returns them")
        names = self._names(segments.image, [segment.rle for segment in segments])
        models = (segments.model.partition("+")[0], self.clip.spec.name)
        items = (replace(segment, names=ranked) for segment, ranked in zip(segments, names, strict=True))
        return Segments(segments.image, tuple(items), "+".join(filter(None, models)))

    def semantic(
        self, image: EncodedImage, segments: Segments | None = None, *, min_confidence: float = MIN_CONFIDENCE
    ) -> SemanticMap:
        """A label for every pixel: from named masks, and between them from CLIP's dense features.

        Args:
            image: the encoded image.
            segments: named segments of it; None takes `everything`.
            min_confidence: outside of masks, a label with a lower probability is "unknown"; 1 uses masks alone.

        Raises:
            PromptError: the segments lie on another image.
            SegzsError: ``min_confidence`` is not from 0 to 1.

        Warns:
            MapWarning: the CLIP has no dense features, so that the map is "unknown" outside of the masks.
        """
        _check_encoded(image)
        segments = self.everything(image) if segments is None else _check_segments(image, segments)
        return semantic_map(segments, self.vocabulary.labels, self._cells(image.image), min_confidence)

    def panoptic(
        self, image: EncodedImage, segments: Segments | None = None, *, min_confidence: float = MIN_CONFIDENCE
    ) -> Segments:
        """Segments that do not overlap and cover all labelled pixels of `semantic`, with the same arguments."""
        segments = self.everything(image) if segments is None else segments
        return panoptic_segments(segments, self.semantic(image, segments, min_confidence=min_confidence))

    def classify(self, source: ImageSource) -> tuple[Name, ...]:
        """The most probable names of a whole image, best first.

        Raises:
            ImageError: the image cannot be read.
        """
        return self.classifier.names(encode_images(self.clip, [read_image(source).pixels]))[0]

    def with_labels(self, labels: Labels) -> Segmenter:
        """The same models with other labels; images stay encoded.

        Examples stay, and count for the labels that they show.

        Raises:
            VocabularyError: nothing can be named with these labels.
        """
        return replace(self, classifier=self.classifier.with_labels(labels, self.cache))

    def with_examples(self, examples: Examples) -> Segmenter:
        """The same models that also name by examples, in addition to earlier ones; images stay encoded.

        Labels that are not in the vocabulary are added to it: ``segmenter.with_examples({"mug": segments[3]})``.

        Args:
            examples: for each label one example or a list of them, each a `Segment`, `Segments` or an image of one
                object; or a file that ``segmenter.examples.save`` wrote.

        Raises:
            AnnotationError: the file does not hold examples.
            ImageError: an example cannot be read.
            VocabularyError: a name cannot be a label.
            ModelMismatchError: another CLIP encoded the examples.
        """
        support_set = SupportSet.of(examples, self.region_encoder)
        return replace(self, classifier=self.classifier.with_examples(support_set, self.cache))

    def with_cache(self, cache: EmbeddingCache) -> Segmenter:
        """The same models with another embedding cache."""
        return replace(self, region_encoder=replace(self.region_encoder, cache=cache))

    @property
    def cache(self) -> EmbeddingCache:
        """Where image embeddings and text features are kept."""
        return self.region_encoder.cache

    @property
    def examples(self) -> SupportSet | None:
        """The examples that are used for names; ``segmenter.examples.save(path)`` writes a file for `load`."""
        return self.classifier.support_set

    @property
    def clip(self) -> ClipModel:
        """The model that names."""
        return self.classifier.clip

    @property
    def vocabulary(self) -> Vocabulary:
        """The labels that objects may get."""
        return self.classifier.vocabulary

    @property
    def model(self) -> str:
        """The names of the models, as ``sam+clip``."""
        return f"{self.sam.spec.name}+{self.clip.spec.name}"

    @property
    def settings(self) -> dict[str, Any]:
        """Everything besides images, prompts and options that results depend on, as plain values for JSON."""
        return {
            "sam": _about(self.sam),
            "clip": _about(self.clip),
            "device": self.sam.device.type,
            "vocabulary": self.vocabulary.digest,
            "unknown": self.classifier.naming.unknown,
            "weighting": self.classifier.naming.weighting,
            **({"examples": self.examples.digest} if self.examples else {}),
            "regions": self.region_encoder.regions,
            **asdict(self.region_encoder.cropping),
        }

    def _encode_part(self, image: Image) -> EncodedImage:
        return encode_cached(self.sam, image, self.cache)

    def _generate(
        self, image: EncodedImage, options: GeneratorOptions, progress: Progress | None, *, lenient: bool = False
    ) -> list[Mask]:
        return generate_masks_in_tiles(self.sam, self._encode_part, image, options, progress, lenient=lenient)

    def _objects(
        self, image: EncodedImage, options: GeneratorOptions, progress: Progress | None
    ) -> tuple[list[Mask], Tensor | None]:
        """The masks of everything mode; with their image features if CLIP selected them."""
        sam, object_threshold = self.sam.spec, self.clip.spec.object_threshold
        has_thresholds = options.predicted_iou_threshold is not None or options.stability_score_threshold is not None
        is_selected = sam.chosen_by_clip and self.region_encoder.regions != "pooled" and not has_thresholds
        if object_threshold is None or not is_selected:
            return self._generate(image, options, progress), None
        masks = self._generate(image, replace(options, max_masks=None), progress, lenient=True)
        if not masks:
            return masks, None
        features = self.region_encoder.encode(image.image, [mask.rle for mask in masks])
        likely = [m.predicted_iou >= sam.predicted_iou and m.stability_score >= sam.stability_score for m in masks]
        self._check_familiar(features[likely] if any(likely) else features)  # before the selection
        ranked = select_masks(
            masks,
            ood.max_similarity(self.clip, features).cpu().numpy(),
            predicted_iou_threshold=sam.predicted_iou,
            stability_score_threshold=sam.stability_score,
            object_threshold=object_threshold,
        )
        kept = sorted(ranked[: options.max_masks])  # largest first, as before
        return [masks[index] for index in kept], features[kept]

    def _named(self, image: Image, masks: Sequence[Mask], features: Tensor | None = None) -> Segments:
        if features is None:
            names = self._names(image, [mask.rle for mask in masks])
        else:
            names = self.classifier.names(features)
        return Segments(image, tuple(map(_segment, masks, names)), self.model)

    def _names(self, image: Image, masks: Sequence[RLE], *, check: bool = True) -> list[tuple[Name, ...]]:
        """Names of masks; warns about unfamiliar objects if ``check``."""
        if not masks:
            return []
        features = self.region_encoder.encode(image, masks)
        if check:
            self._check_familiar(features[[mask.area > 0 for mask in masks]])
        return self.classifier.names(features)

    def _check_familiar(self, features: Tensor) -> None:
        if self.region_encoder.regions != "pooled":  # the threshold is that of crops
            ood.warn_if_out_of_distribution(self.clip, features)

    def _cells(self, image: Image) -> np.ndarray | None:
        """The probability of each label in each cell of a grid over an image, "unknown" last."""
        try:
            features = self.region_encoder.cells(image)
        except ModelError as error:
            warn(f'the map is "unknown" outside of the masks: {error}', MapWarning)
            return None
        return self.classifier.exclusive(features.flatten(0, 1)).unflatten(0, features.shape[:2]).cpu().numpy()


def _segment(mask: Mask, names: tuple[Name, ...] = ()) -> Segment:
    predicted_iou = min(max(mask.predicted_iou, 0.0), 1.0)  # SAM's head is not bounded
    return Segment(mask.rle, predicted_iou, mask.stability_score, names, mask.low_res_logits)


def _about(model: SamModel | ClipModel) -> dict[str, str]:
    return {"name": model.spec.name, "sha256": model.digest, "dtype": str(model.dtype).removeprefix("torch.")}


def _options(options: Mapping[str, Any]) -> GeneratorOptions:
    names = GeneratorOptions.__dataclass_fields__
    if unknown := [name for name in options if name not in names]:
        raise PromptError(f"unknown option {', '.join(unknown)} of everything mode; choose from {', '.join(names)}")
    return GeneratorOptions(**options)


def _check_encoded(image: object) -> None:
    if not isinstance(image, EncodedImage):
        raise PromptError(f"{type(image).__name__} is not an encoded image; call segmenter.encode(image) first")


def _check_segments(image: EncodedImage, segments: object) -> Segments:
    if not isinstance(segments, Segments) or segments.image != image.image:
        raise PromptError(f"{segments!r} is not Segments of this image; give segments of the same encoded image")
    return segments
