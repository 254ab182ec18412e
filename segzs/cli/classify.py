"""``segzs classify``: a table or lines of JSON, a name for each whole picture."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from segzs.cli.options import classifier_options
from segzs.errors import ImageError

if TYPE_CHECKING:
    from segzs.segments import Name

BATCH = 32
SHOWN = 5


def classify(
    parsed: argparse.Namespace, say: Callable[[str], None], table: Callable[[Sequence[tuple[str, ...]]], None]
) -> int:
    """Name whole pictures; SAM is not loaded. The exit status is 1 where pictures failed."""
    from segzs.clip.image_features import encode_images
    from segzs.image import Image, read_image
    from segzs.loading import load_classifier

    files = dict(_files(parsed))
    classifier = load_classifier(**classifier_options(parsed), cache=not parsed.no_cache)
    rows: list[tuple[str, tuple[Name, ...]]] = []
    failed, pending = 0, iter(files.items())
    while part := list(islice(pending, BATCH)):
        pictures: dict[str, Image] = {}
        for shown, path in part:
            try:
                pictures[shown] = read_image(path)
            except ImageError as error:
                failed += 1
                say(f"error: {error}" if str(path) in str(error) else f"error: {path}: {error}")
        if not pictures:
            continue
        names = classifier.names(encode_images(classifier.clip, (image.pixels for image in pictures.values())))
        for shown, ranked in zip(pictures, names, strict=True):
            if parsed.json:
                best = [{"label": name.label, "probability": round(name.probability, 4)} for name in ranked[:SHOWN]]
                print(json.dumps({"file": shown, **best[0], "names": best}), flush=True)
            else:
                rows.append((shown, ranked))
    if rows:
        table([("file", "name", "probability"), *((f, r[0].label, f"{r[0].probability:.2f}") for f, r in rows)])
    if failed and len(files) > 1:
        say(f"{failed} of {len(files)} pictures failed")
    return 1 if failed else 0


def _files(parsed: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """What pictures are called, each once, and where they are."""
    from segzs.dataset.listing import list_images

    for given in dict.fromkeys(parsed.images):
        if Path(given).is_dir():
            for name in list_images(given, glob=parsed.glob).names:
                yield str(Path(given) / name), Path(given) / name
        else:
            yield given, Path(given)
