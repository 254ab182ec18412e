"""Image features of the segments of a labelled directory, as its index stores them and `refine` compares them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from segzs.cache import EmbeddingCache
from segzs.clip.crops import Cropping
from segzs.clip.image_features import encode_images
from segzs.clip.model import ClipModel
from segzs.clip.regions import RegionEncoder
from segzs.dataset.listing import RUN_FILE
from segzs.errors import OutputError
from segzs.formats.annotations import ImageAnnotations


def read_run(folder: Path) -> dict[str, Any]:
    """The run file of a labelled directory; raises `OutputError` for other folders."""
    try:
        run = json.loads((folder / RUN_FILE).read_bytes())
        if run["format"] != "segzs-run/1" or not (folder / "segments.jsonl").is_file():
            raise ValueError(run["format"])
        return run
    except (OSError, ValueError, KeyError, TypeError) as error:
        if any((folder / "segments").glob("*.parquet")):
            raise OutputError(
                f"{folder} holds the results of a cluster, which cannot be searched; label the directory without --ray"
            ) from error
        raise OutputError(
            f"{folder} is not the output folder of a run; label a directory first: segzs label DIR --out {folder}"
        ) from error


def region_encoder(run: dict[str, Any], clip: ClipModel) -> RegionEncoder:
    """The encoder of a run's segments: that of its names, but crops instead of "pooled" features.

    `SegmentIndex.search` encodes an image of one object as a crop, which pooled features do not resemble.
    """
    settings = run["settings"]
    regions = "crops" if settings["regions"] == "pooled" else settings["regions"]
    cache = EmbeddingCache(memory=0)  # each image is encoded once
    return RegionEncoder(clip, Cropping(settings["background"], settings["margin"]), regions, cache)


def feature_width(clip: ClipModel) -> int:
    """The length of a CLIP's image features."""
    return encode_images(clip, [np.zeros((8, 8, 3), np.uint8)]).shape[1]


def encode_record(record: ImageAnnotations, root: Path, encoder: RegionEncoder) -> Tensor:
    """The features of an image's segments, float32 (N, width).

    Raises `ImageError` or `AnnotationError` if the image was removed or changed.
    """
    segments = record.on(root / record.file)
    return encoder.encode(segments.image, [segment.rle for segment in segments]).cpu()


def image_key(record: ImageAnnotations) -> str:
    """The identity of an image in the table: the SHA-256 of the path and digest of its file."""
    return hashlib.sha256(f"{record.file}\n{record.digests.file}".encode(errors="surrogateescape")).hexdigest()
