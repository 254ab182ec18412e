"""Label Studio's ML-backend protocol as values: labeling interfaces, prompts of contexts, regions of answers.

Coordinates of regions are percent of the image, whichever way the annotator has turned the view.

Source: https://labelstud.io/guide/ml_create, https://labelstud.io/tags
"""

from __future__ import annotations

import math
import secrets
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from segzs.errors import AnnotationError, PromptError, UsageError
from segzs.formats.label_studio import regions, unbrush
from segzs.segments import UNKNOWN, Name, Segment

OUTPUTS = {"BrushLabels": "brushlabels", "PolygonLabels": "polygonlabels"}
MAX_CONFIG = 1_000_000
STROKE_POINTS = 3


@dataclass(frozen=True)
class Interface:
    """What segzs needs of a labeling interface.

    Args:
        key: the key of the image in the data of a task.
        from_name: the tag that regions belong to.
        to_name: the tag of the image.
        kind: "brushlabels" or "polygonlabels".
        labels: the labels of the tag, without "unknown".
        unknown: how the interface spells "unknown"; empty where it does not have it.
    """

    key: str
    from_name: str
    to_name: str
    kind: str
    labels: tuple[str, ...]
    unknown: str = ""

    @classmethod
    def read(cls, config: Any) -> Interface:
        """The interface of a labeling configuration, which is XML.

        Raises:
            UsageError: it is not XML, or it has no BrushLabels or PolygonLabels on an Image.

        >>> Interface.read(
        ...     '<View><Image name="img" value="$photo"/>'
        ...     '<BrushLabels name="tag" toName="img"><Label value="cat"/><Label value="Unknown"/></BrushLabels></View>'
        ... )
        Interface(key='photo', from_name='tag', to_name='img', kind='brushlabels', labels=('cat',), unknown='Unknown')
        """
        if not isinstance(config, str) or len(config) > MAX_CONFIG or "<!DOCTYPE" in config:
            raise UsageError("the labeling configuration is not a short XML text without DOCTYPE")
        try:
            view = ET.fromstring(config)
        except (ET.ParseError, ValueError) as error:
            raise UsageError(f"the labeling configuration is not XML: {error}") from error
        images = {tag.get("name"): tag.get("value", "") for tag in view.iter("Image")}
        for name, kind in OUTPUTS.items():
            for tag in view.iter(name):
                values = [value.strip() for label in tag.iter("Label") if (value := label.get("value", ""))]
                if tag.get("toName") in images and values and tag.get("name"):
                    unknown = next((value for value in values if value.casefold() == UNKNOWN), "")
                    labels = tuple(value for value in values if value != unknown)
                    key = images[tag.get("toName")].lstrip("$")
                    return cls(key, tag.get("name", ""), tag.get("toName", ""), kind, labels, unknown)
        raise UsageError(
            "the labeling configuration has no BrushLabels or PolygonLabels with labels for an Image; "
            "add one: segzs writes its masks there"
        )

    def image_of(self, task: Any) -> str:
        """Where the image of a task is, as Label Studio writes it.

        Raises:
            UsageError: the task has no such image.
        """
        data = task.get("data") if isinstance(task, Mapping) else None
        source = data.get(self.key) if isinstance(data, Mapping) else None
        if not isinstance(source, str) or not source:
            raise UsageError(f"the task has no image under {self.key!r}; the labeling configuration names it so")
        return source

    def name_of(self, segment: Segment) -> Name | None:
        """The most probable name that the interface has, as it spells it; None if there is none."""
        for name in segment.names:
            if name.label == UNKNOWN and self.unknown:
                return Name(self.unknown, name.probability)
            if name.label in self.labels:
                return name
        return None

    def write(self, segments: Iterable[Segment], rotation: int = 0) -> dict[str, Any]:
        """The segments as a prediction: ``{"result": [...], "score": mean}``."""
        results: list[dict[str, Any]] = []
        for segment in segments:
            if segment.area and (name := self.name_of(segment)):
                others = (other for other in segment.names if other.label not in (name.label, UNKNOWN))
                renamed = replace(segment, names=(name, *others))
                for region in regions(renamed, self.kind, self.from_name, self.to_name, rotation):
                    results.append({"id": secrets.token_hex(5), "readonly": False, **region})
        scores = [region["score"] for region in results]
        return {"result": results, "score": round(sum(scores) / len(scores), 4) if scores else 0.0}


def read_prompt(context: Sequence[Any], width: int, height: int) -> dict[str, Any]:
    """The prompt of the regions that an annotator drew with a smart tool, as `Session.segment` takes it.

    Keypoints and the strokes of a brush are points, a rectangle is the box. All describe one object.

    Args:
        context: regions of Label Studio; other tools' regions among them are left out.
        width: of the image.
        height: of the image.

    Raises:
        PromptError: no region is a keypoint, a rectangle or a stroke.
        AnnotationError: a region is damaged.

    >>> value = {"x": 50, "y": 25, "keypointlabels": ["cat"]}
    >>> read_prompt([{"type": "keypointlabels", "value": value, "is_positive": 1}], 200, 100)
    {'points': [(100.0, 25.0)], 'positive': [True], 'box': None}
    """
    points: list[tuple[float, float]] = []
    positive: list[bool] = []
    box: tuple[float, ...] | None = None
    for region in context:
        try:
            kind, value = region["type"], region["value"]
            sign = _is_positive(region)
            if kind in ("keypoint", "keypointlabels"):
                new = [_inside(_number(value["x"]) / 100 * width, _number(value["y"]) / 100 * height, width, height)]
            elif kind in ("brush", "brushlabels"):
                new = list(_stroke_points(unbrush(value["rle"], height, width)))
            elif kind in ("rectangle", "rectanglelabels"):
                new, box = [], _box(value, width, height)
            else:
                continue
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else error
            raise AnnotationError(f"a region of the context is damaged: {reason}") from error
        points += new
        positive += [sign] * len(new)
    if not points and box is None:
        raise PromptError("the context has no keypoint, rectangle or brush stroke; draw one with a smart tool")
    return {"points": points, "positive": positive, "box": box}


def _is_positive(region: Mapping[str, Any]) -> bool:
    """Older editors write ``is_positive`` beside the value, newer ones ``positive`` in it."""
    value = region["value"]
    sign = value.get("positive", region.get("is_positive", value.get("is_positive", True)))
    return str(sign).lower() not in ("false", "0", "none")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _inside(x: float, y: float, width: int, height: int) -> tuple[float, float]:
    """The nearest point of the image: at 100 percent, a click on the last pixel lies just outside."""
    return min(max(x, 0.0), width - 0.5), min(max(y, 0.0), height - 0.5)


def _box(value: Mapping[str, Any], width: int, height: int) -> tuple[float, ...]:
    """The box around a rectangle that is turned about its first corner."""
    x, y = _number(value["x"]) * width / 100, _number(value["y"]) * height / 100
    w, h = _number(value["width"]) * width / 100, _number(value["height"]) * height / 100
    turn = math.radians(_number(value.get("rotation", 0)))
    xs = [x + across * math.cos(turn) - down * math.sin(turn) for across in (0, w) for down in (0, h)]
    ys = [y + across * math.sin(turn) + down * math.cos(turn) for across in (0, w) for down in (0, h)]
    return min(xs), min(ys), max(xs), max(ys)


def _stroke_points(mask: np.ndarray) -> Iterator[tuple[float, float]]:
    """Up to three points inside a stroke, each as far as possible from its edge and from those before."""
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    if not mask.any():
        return
    ys, xs = np.nonzero(depth >= 0.8 * depth.max())
    chosen = [int(np.argmax(depth[ys, xs]))]
    while len(chosen) < STROKE_POINTS:
        distance = np.min([np.hypot(xs - xs[i], ys - ys[i]) for i in chosen], axis=0)
        chosen.append(int(np.argmax(distance)))
    for index in dict.fromkeys(chosen):
        yield float(xs[index]) + 0.5, float(ys[index]) + 0.5
