"""``segzs index`` and ``segzs search``: progress, a table, JSON, a contact sheet."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segzs.checks import counted
from segzs.cli.progress import progress_bar
from segzs.errors import OutputError, PromptError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

CROPS_A_ROW = 5


def index(parsed: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Bring the index up to the records; the exit status is 1 where pictures had to be skipped."""
    from segzs.search.index import index, load_clip_for

    clip = load_clip_for(parsed.out, parsed.clip, parsed.device)
    with progress_bar(parsed.quiet) as progress:
        done = index(parsed.out, clip, progress=progress)
    if done.skipped:
        first, number = done.skipped[0], len(done.skipped)
        say(f"error: {number} skipped, gone or changed since they were labelled; the first: {first.reason}")
    if not parsed.quiet:
        came = counted(done.added, "picture")
        say(f"{counted(done.segments, 'segment')} in the index: {came} came, {done.removed} went")
    return 1 if done.skipped else 0


def search(
    parsed: argparse.Namespace, say: Callable[[str], None], table: Callable[[Sequence[tuple[str, ...]]], None]
) -> int:
    """Print the segments that are most like words or a picture."""
    if (parsed.query is None) == (parsed.like is None):
        raise PromptError("say what to look for: either words, or a picture with --like FILE")
    from segzs.files import check_apart
    from segzs.formats import PICTURES
    from segzs.search.index import SegmentIndex, load_clip_for

    if parsed.sheet and Path(parsed.sheet).suffix.lower() not in PICTURES:
        raise UsageError(f"{parsed.sheet}: the name of a picture ends with {', '.join(PICTURES)}")
    found = SegmentIndex.open(parsed.out, load_clip_for(parsed.out, parsed.clip, parsed.device))
    if parsed.sheet:
        check_apart([Path(parsed.sheet)], [found.root, *([Path(parsed.like)] if parsed.like else [])])
    if parsed.like is None:
        matches = found.search(parsed.query, limit=parsed.limit)
    else:
        matches = found.like(parsed.like, limit=parsed.limit)
    if parsed.json:
        for match in matches:
            print(json.dumps(match.to_dict()))
    else:
        rows = [(f"{m.score:.3f}", m.file, m.name, ",".join(map(str, m.box))) for m in matches]
        table([("score", "file", "name", "box"), *rows])
    if parsed.sheet:
        from segzs.draw import contact_sheet

        pictures = list(found.crops(matches))
        captions = [f"{m.score:.2f} {m.name}\n{Path(m.file).name}" for m in matches]
        _save(contact_sheet(pictures, captions, columns=CROPS_A_ROW), Path(parsed.sheet))
        if missing := [m.file for m, picture in zip(matches, pictures, strict=True) if picture is None]:
            say(f"note: {len(missing)} left grey, gone or changed since they were labelled; the first: {missing[0]}")
        say(f"wrote {parsed.sheet}")
    return 0


def _save(picture: Image, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}") from error
