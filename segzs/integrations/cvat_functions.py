"""CVAT's auto-annotation functions of cvat-sdk, for ``cvat-cli task auto-annotate`` and for CVAT's agents.

Source: https://docs.cvat.ai/docs/api_sdk/sdk/auto-annotation/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import PIL.Image

from segzs.errors import OutputError, UsageError
from segzs.formats.cvat import points
from segzs.formats.polygons import corners
from segzs.loading import load
from segzs.prompts import Prompt
from segzs.sam.encode import EncodedImage
from segzs.segmenter import Segmenter
from segzs.segments import UNKNOWN, Segment

if TYPE_CHECKING:
    import cvat_sdk.auto_annotation as auto_annotation


@dataclass(frozen=True, eq=False)
class DetectionFunction:
    """Every object of an image, with a label of the segmenter: masks, or polygons where CVAT asks for them."""

    segmenter: Segmenter

    @cached_property
    def spec(self) -> auto_annotation.DetectionFunctionSpec:
        """The labels; CVAT matches them with those of a task by their names."""
        cvat = _auto_annotation()
        names = dict.fromkeys([*self.segmenter.vocabulary.labels, UNKNOWN])
        return cvat.DetectionFunctionSpec(labels=[cvat.label_spec(name, id_) for id_, name in enumerate(names)])

    def detect(self, context: auto_annotation.DetectionFunctionContext, image: PIL.Image.Image) -> Sequence[Any]:
        """The objects of an image whose probability is at least the threshold of CVAT."""
        ids = {label.name: label.id for label in self.spec.labels}
        segments = self.segmenter.everything(self.segmenter.encode(image))
        threshold = context.conf_threshold or 0.0
        shapes: list[Any] = []
        for group, segment in enumerate(segments, start=1):
            if segment.area and segment.probability >= threshold:
                shapes += _shapes(segment, ids[segment.name], group, context.conv_mask_to_poly)
        return shapes


@dataclass(frozen=True, eq=False)
class InteractionFunction:
    """The object that points and a box of an annotator describe."""

    segmenter: Segmenter

    @cached_property
    def spec(self) -> auto_annotation.InteractionFunctionSpec:
        """What an annotator may draw: points on the object and off it, and a box."""
        return _auto_annotation().InteractionFunctionSpec(min_pos_points=0, min_neg_points=0, min_bounding_boxes=0)

    def preprocess_image(self, context: Any, image: PIL.Image.Image) -> EncodedImage:
        """Encode an image; CVAT's agent keeps it for the next clicks."""
        return self.segmenter.encode(image)

    def detect(self, context: Any, pp_image: EncodedImage, prompts: auto_annotation.InteractionPrompts) -> list[Any]:
        """The mask of the prompts; nothing if it is empty."""
        inside, outside = list(prompts.pos_points), list(prompts.neg_points)
        signs = [True] * len(inside) + [False] * len(outside)
        box = None if prompts.bounding_box is None else [*prompts.bounding_box[0], *prompts.bounding_box[1]]
        ((mask,),) = self.segmenter.decode(pp_image, [Prompt([*inside, *outside], signs, box)])
        if not mask.rle.area:
            return []
        return [_auto_annotation().InteractionResultShape(type="mask", points=points(mask.rle))]


def create(
    kind: Literal["detection", "interaction"] = "detection", labels: str = "", **options: Any
) -> DetectionFunction | InteractionFunction:
    """The function that cvat-cli loads: ``--function-module segzs.integrations.cvat_functions -p labels=str:cat,dog``.

    Args:
        kind: "detection" for ``auto-annotate``, "interaction" for the AI tools of an agent.
        labels: separated by commas; empty means the general ones.
        **options: of `segzs.load`.

    Raises:
        OutputError: cvat-sdk is not installed.
        UsageError: the kind is unknown.
    """
    _auto_annotation()
    names = [label.strip() for label in labels.split(",") if label.strip()]
    if kind not in ("detection", "interaction"):
        raise UsageError(f"the kind of function is {kind!r}; choose from detection, interaction")
    segmenter = load(labels=names or None, **options)
    return DetectionFunction(segmenter) if kind == "detection" else InteractionFunction(segmenter)


def _shapes(segment: Segment, label: int, group: int, as_polygons: bool) -> list[Any]:
    cvat = _auto_annotation()
    if not as_polygons:
        return [cvat.mask(label, points(segment.rle))]
    parts = corners(segment.mask)
    shared = {"group": group} if len(parts) > 1 else {}
    return [cvat.polygon(label, polygon.ravel().tolist(), **shared) for polygon in parts]


def _auto_annotation() -> Any:
    try:
        import cvat_sdk.auto_annotation
    except ImportError as error:
        raise OutputError("this needs cvat-sdk; run: pip install cvat-sdk") from error
    return cvat_sdk.auto_annotation
