"""``segzs`` and its commands. Results on stdout, progress and messages on stderr."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, count, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzs import __version__
from segzs.checks import counted
from segzs.cli.options import generator_options, model_options, parse_labels, prompts_of
from segzs.cli.parser import build_parser
from segzs.cli.progress import progress_bar
from segzs.errors import (
    ModelError,
    PromptError,
    SegzsError,
    SegzsWarning,
    UsageError,
    VocabularyError,
    WeightsError,
)

if TYPE_CHECKING:
    from segzs.formats import ImageAnnotations
    from segzs.postprocess.maps import SemanticMap
    from segzs.prompts import Prompt
    from segzs.segmenter import Segmenter
    from segzs.segments import Segments


ENDINGS = ("overlay.png", "segzs.json", "coco.json")
MAP_ENDINGS = ("map.overlay.png", "map.png", "map.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``segzs`` and return its exit status."""
    parsed = build_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show ends no run
    command: Callable[[argparse.Namespace], int] = globals()[f"_{parsed.command}"]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _one_line
            return command(parsed)
    except (PromptError, UsageError, VocabularyError) as error:
        _say(f"error: {error}")
        return 2
    except SegzsError as error:
        _say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains of it at exit
        return 1
    except OSError as error:  # a full disk, a folder that may not be read
        _say(f"error: {error}")
        return 1


def _label(parsed: argparse.Namespace) -> int:
    prompts, grid = prompts_of(parsed.objects), generator_options(parsed)
    if prompts and parsed.everything:
        raise PromptError("--everything asks for every object; leave out --point and --box, or --everything")
    if prompts and grid:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in grid)
        raise PromptError(f"{options}: only where every object is asked for; leave out --point and --box, or these")
    if parsed.detections and (prompts or grid or parsed.everything or parsed.ray or _several(parsed.images)):
        raise PromptError("--detections goes with one picture, and with no prompts or options of everything mode")
    import segzs
    from segzs.cli import cluster, directory
    from segzs.sam.mask_generator import GeneratorOptions

    GeneratorOptions(**grid)  # out of range is said before models are loaded
    if cluster.is_asked_for(parsed):
        return cluster.label(parsed, model_options(parsed), _say)
    pictures, stems = directory.pictures_of(parsed), _different_stems(parsed.images)
    if parsed.out and pictures is None:
        endings = MAP_ENDINGS if parsed.map == "semantic" else ENDINGS
        _make_out(Path(parsed.out), stems, endings, [*parsed.images, parsed.detections])
    say = (lambda text: None) if parsed.quiet else _say
    say("loading models")
    segmenter = segzs.load(**model_options(parsed), cache=not parsed.no_cache)
    if pictures is not None:
        return directory.label(segmenter, pictures, parsed, _say)
    failed = 0
    for image, stem in zip(parsed.images, stems, strict=True):
        say(f"{image}: looking")
        try:
            found = _look(segmenter, image, prompts, parsed)
            _print(found, image, parsed.json, len(parsed.images) > 1)
            written = _write(found, image, Path(parsed.out), stem) if parsed.out else []
        except BrokenPipeError:
            raise
        except (SegzsError, OSError) as error:
            _say(f"error: {image}: {error}" if image not in str(error) else f"error: {error}")
            failed += 1
            continue
        for path in written:
            say(f"{image}: wrote {path}")
    if failed and len(parsed.images) > 1:
        _say(f"{failed} of {len(parsed.images)} pictures failed")
    return 1 if failed else 0


def _several(images: Sequence[str]) -> bool:
    return len(images) > 1 or Path(images[0]).is_dir()


def _look(
    segmenter: Segmenter, image: str, prompts: list[Prompt], parsed: argparse.Namespace
) -> Segments | SemanticMap:
    photo = segmenter.encode(image)
    if parsed.detections:
        found = segmenter.regions(photo, parsed.detections)
    elif prompts:
        found = segmenter.segment(photo, prompts)
    else:
        with progress_bar(parsed.quiet, image) as progress:
            found = segmenter.everything(photo, **generator_options(parsed), progress=progress)
    if parsed.map == "semantic":
        return segmenter.semantic(photo, found)
    return segmenter.panoptic(photo, found) if parsed.map else found


def _different_stems(images: Sequence[str]) -> list[str]:
    """A stem for each picture's files: those that collide (a/1.jpg, b/1.jpg) get numbers, in the order given."""
    stems: list[str] = []
    taken: set[str] = set()
    for image in images:
        stem = Path(image).stem
        candidates = chain([stem], (f"{stem}-{number}" for number in count(2)))
        stems.append(next(candidate for candidate in candidates if candidate.casefold() not in taken))
        taken.add(stems[-1].casefold())  # some file systems do not tell A from a
    return stems


def _make_out(folder: Path, stems: Sequence[str], endings: Sequence[str], inputs: Sequence[str | None]) -> None:
    """Make the folder of ``--out``, unless a file in it would be written over that is read."""
    from segzs.files import check_apart, make_folder

    files = (folder / f"{stem}.{ending}" for stem, ending in product(stems, endings))
    check_apart(files, [Path(given) for given in inputs if given])
    make_folder(folder)


def _write(found: Segments | SemanticMap, image: str, folder: Path, stem: str) -> list[Path]:
    from segzs.formats import save
    from segzs.segments import Segments

    endings = ENDINGS if isinstance(found, Segments) else MAP_ENDINGS
    return [save(found, folder / f"{stem}.{ending}", image_name=Path(image).name) for ending in endings]


def _print(found: Segments | SemanticMap, image: str, as_json: bool, with_title: bool) -> None:
    if as_json:
        print(json.dumps({"file": image, **found.to_dict()}), flush=True)
        return
    title = f"{image}\n" if with_title else ""
    table = found.table()
    print(title + (table if "\n" in table else "no objects found"), flush=True)


def _find(parsed: argparse.Namespace) -> int:
    if (parsed.words is None) == (parsed.like is None):
        raise PromptError("say what to look for: either words, or a picture with --like FILE")
    import segzs
    from segzs.sam.mask_generator import GeneratorOptions

    GeneratorOptions(**generator_options(parsed))  # out of range is said before models are loaded
    stem = Path(parsed.image).stem
    if parsed.out:
        _make_out(Path(parsed.out), [stem], ENDINGS, [parsed.image, parsed.like])
    segmenter = segzs.load(**model_options(parsed), cache=not parsed.no_cache)
    photo = segmenter.encode(parsed.image)
    options = generator_options(parsed)
    found = segmenter.find(photo, parsed.words, like=parsed.like, score_threshold=parsed.score_threshold, **options)
    _print(found, parsed.image, parsed.json, False)
    for path in _write(found, parsed.image, Path(parsed.out), stem) if parsed.out else ():
        _say(f"{parsed.image}: wrote {path}")
    return 0


def _classify(parsed: argparse.Namespace) -> int:
    from segzs.cli import classify

    return classify.classify(parsed, _say, _table)


def _convert(parsed: argparse.Namespace) -> int:
    from segzs.files import check_apart
    from segzs.formats import find_format, read, write

    known = find_format(parsed.to)
    given = {name: getattr(parsed, name) for name in ("categories", "base", "polygons", "like")}
    options = {name: value for name, value in given.items() if value is not None}
    if parsed.categories is not None:
        options["categories"] = parse_labels(parsed.categories).labels
    first = Path(parsed.inputs[0])
    stem = first.name.partition(".")[0]
    out = Path(parsed.out or first.parent / ((stem or first.resolve().name) + known.suffix))
    check_apart([out], [Path(given) for given in (*parsed.inputs, parsed.like) if given])
    times: Counter[str] = Counter()

    def annotated() -> Iterator[ImageAnnotations]:
        for path in parsed.inputs:
            for one in read(path, parsed.source):
                times[one.file] += 1
                yield one

    write(annotated(), out, known.name, **options)
    _say(f"wrote {out}: {counted(times.total(), 'picture')}")
    if twice := [file for file, number in times.items() if number > 1]:
        repeated = f"{counted(len(twice), 'picture')} came more than once, and so are written"
        _say(f"note: {repeated}; the first: {twice[0]}")
    return 0


def _evaluate(parsed: argparse.Namespace) -> int:
    from segzs.cli import evaluate

    return evaluate.evaluate(parsed, _say, _table)


def _index(parsed: argparse.Namespace) -> int:
    from segzs.cli import search

    return search.index(parsed, _say)


def _search(parsed: argparse.Namespace) -> int:
    from segzs.cli import search

    return search.search(parsed, _say, _table)


def _models(parsed: argparse.Namespace) -> int:
    from segzs.checkpoints.locate import find_file, is_clip_here
    from segzs.checkpoints.registry import CLIPS, PRESETS, SAMS
    from segzs.settings import default_model

    rows = [("preset", "SAM", "CLIP", "for")]
    default = default_model()
    rows += [(f"{p.name} (default)" if p.name == default else p.name, p.sam, p.clip, p.note) for p in PRESETS.values()]
    _table(rows)
    sams = [("SAM", "file", "MB", "licence", "here")]
    for sam in SAMS.values():
        place = find_file(sam.file)
        size = place.stat().st_size if place else sam.bytes
        sams.append((sam.name, sam.file, f"{size / 1e6:,.0f}", sam.licence, str(place or "-")))
    print()
    _table(sams)
    print()
    clips = [("CLIP", "from", "licence", "here")]
    for clip in CLIPS.values():
        clips.append((clip.name, clip.hub or "embedded", clip.licence, "yes" if is_clip_here(clip.name) else "-"))
    _table(clips)
    print(
        "\nfetch one: segzs fetch NAME    any other open_clip model: --clip ARCHITECTURE:TAG, after segzs fetch of it"
    )
    return 0


def _fetch(parsed: argparse.Namespace) -> int:
    from segzs.checkpoints.download import fetch
    from segzs.settings import search_folders

    paths = fetch(parsed.name, Path(parsed.to) if parsed.to else None)
    for path in paths:
        print(path)
    known = {folder.resolve() for folder in search_folders()}
    if elsewhere := {path.parent for path in paths if not {path.resolve(), path.parent.resolve()} & known}:
        _say(f"note: to use what lies in {elsewhere.pop()}, set SEGZS_CACHE to it or run where it is ./checkpoints")
    return 0


def _cache(parsed: argparse.Namespace) -> int:
    from segzs.cache import EmbeddingCache
    from segzs.settings import embeddings_folder

    cache = EmbeddingCache(embeddings_folder())
    size = cache.size()
    if parsed.clear:
        cache.clear()
    forgotten = " (now cleared)" if parsed.clear else ""
    entries = counted(size.entries, "entry", "entries")
    print(f"{cache.folder}: {entries}, {size.bytes / 1e6:.1f} MB of {cache.disk / 1e6:.0f} MB{forgotten}")
    return 0


def _doctor(parsed: argparse.Namespace) -> int:
    from segzs.checkpoints.locate import locate_sam, verify_clip
    from segzs.checkpoints.registry import CLIPS, SAMS, preset
    from segzs.environment import devices, require_fitting_torchvision, versions
    from segzs.settings import cache_folder, default_model, is_offline

    _table([("package", "version"), ("segzs", __version__), *versions().items()])
    print()
    faults = [f"{package} is missing" for package, found in versions().items() if found == "missing"]
    rows = [("check", "result")]
    try:
        require_fitting_torchvision()
        rows += [("torch and torchvision", "fit"), ("devices", ", ".join(devices()))]
    except SegzsError as error:
        faults.append(str(error))
    try:
        rows.append(("default model", preset(default_model()).name))
    except ModelError as error:
        faults.append(f"SEGZS_MODEL: {error}")
    rows.append(("cache", f"{cache_folder()}{' (offline)' if is_offline() else ''}"))
    checks = [(f"SAM {name}", lambda name=name: locate_sam(name).path) for name in SAMS]
    checks += [(f"CLIP {name}", partial(verify_clip, name)) for name in CLIPS]
    rows += [(what, found) for what, check in checks if (found := _checked(faults, check))]
    _table(rows)
    print()
    for fault in faults:
        print(f"PROBLEM: {fault}")
    print("all well" if not faults else counted(len(faults), "problem"))
    return 1 if faults else 0


def _checked(faults: list[str], check: Callable[[], Path]) -> str:
    """What a checkpoint is found to be; nothing where it is not here."""
    try:
        return f"intact, {check()}"
    except WeightsError as error:
        faults.append(str(error))
        return "DAMAGED"
    except ModelError:
        return ""


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*rows[0], box=None, pad_edge=False)
    for row in rows[1:]:
        table.add_row(*(Text(cell) for cell in row))  # as text, brackets in paths are no markup
    console = Console(width=None if sys.stdout.isatty() else 500)
    with console.capture() as drawn:
        console.print(table)
    print("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def _one_line(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, SegzsWarning):
        _say(f"note: {message}")


def _say(text: str) -> None:
    print(f"segzs: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
