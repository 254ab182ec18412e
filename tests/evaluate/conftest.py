"""The example scenes as a COCO file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Scene, read_scene

Write = Callable[..., Path]


def coco_of(scenes: Mapping[str, Scene]) -> dict[str, Any]:
    """A COCO file's content: each scene an image, with its own source."""
    names = list(dict.fromkeys(name for scene in scenes.values() for name in scene.names))
    images, annotations = [], []
    for number, (source, scene) in enumerate(scenes.items(), 1):
        first = scene.masks[0]
        size = {"width": first.width, "height": first.height}
        images.append({"id": number, "file_name": scene.path.name, "source": source, **size})
        for name, mask in zip(scene.names, scene.masks, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": names.index(name) + 1,
                    "segmentation": mask.coco(),
                    "area": mask.area,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture
def write_coco(tmp_path: Path) -> Write:
    """Write a COCO file of example scenes, changed by a function if wanted; gives its path."""

    def write(*names: str, change: Callable[[dict], object] = lambda content: None) -> Path:
        content = coco_of({name: read_scene(name) for name in names})
        change(content)
        path = tmp_path / "annotations.json"
        path.write_text(json.dumps(content))
        return path

    return write
