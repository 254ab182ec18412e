"""``segzs label``: segment and name the objects of images, of a directory, or of a bucket."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzs.cli import parser, results
from segzs.cli.terminal import message, share_progress
from segzs.errors import SegzsError, UsageError
from segzs.prompts import Prompt

if TYPE_CHECKING:
    from segzs.postprocess.maps import SemanticMap
    from segzs.segmenter import Segmenter
    from segzs.segments import Segments

EXAMPLES = """examples:
  segzs label desk.jpg                                      every object, named with general labels
  segzs label desk.jpg --labels laptop,cup,"apple tree"     ... named with these labels
  segzs label desk.jpg --labels labels.txt --out out/       ... with those of a file; write files to out/
  segzs label desk.jpg --point 350,340                      the object at a pixel
  segzs label desk.jpg --point 350,340 --point 430,400,-    ... without the part at another pixel
  segzs label desk.jpg --box 41,22,195,224 --object --point 350,340     two objects
  segzs label photo.jpg --model vit_b --json                larger models (fetch them first), JSON on stdout
  segzs label photos/ --labels labels.txt --out out/        a directory; repeat the command to resume
  segzs label s3://bucket/photos --ray auto --out s3://bucket/out     a bucket, on a cluster

exit status: 0 success, 1 an image or the command failed (see stderr; the other images are done), 2 wrong use,
  130 interrupted
"""
FILES, DIRECTORY, CLUSTER = "image files", "a directory", "--ray"
WORKS_WITH = {
    "objects": FILES,
    "detections": FILES,
    "map": FILES,
    "white": FILES,
    "json": f"{FILES} or {DIRECTORY}",
    "overlays": DIRECTORY,
    "glob": f"{DIRECTORY} or {CLUSTER}",
    **dict.fromkeys(("actors", "actor_cpus", "actor_gpus", "part"), CLUSTER),
}


class AddToObject(argparse.Action):
    """Add a point or a box to the object that the last ``--object`` opened."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        namespace.objects = [*namespace.objects]
        if self.dest == "object" or not namespace.objects:
            namespace.objects.append([])
        if self.dest != "object":
            namespace.objects[-1].append((self.dest, values))


def add_parser(commands: Any) -> None:
    help = "segment and name the objects of images: those at prompts, or every object"
    label = parser.add_command(commands, "label", run, help, EXAMPLES)
    label._negative_number_matcher = re.compile(r"-[\d.]")  # so that a box may start outside: --box -10,-10,50,50
    label.add_argument("images", nargs="+", metavar="IMAGE|DIR", help="image files, or one directory")
    prompts = label.add_argument_group("prompts, in pixels from the upper left corner")
    prompts.set_defaults(objects=[])
    add, point, box = prompts.add_argument, "a point on the object; ,- is a negative one", "a box around the object"
    add("--point", action=AddToObject, type=_point, metavar="X,Y[,-]", help=point)
    add("--box", action=AddToObject, type=_box, metavar="X1,Y1,X2,Y2", help=box)
    add("--object", action=AddToObject, nargs=0, help="the next points and box belong to another object")
    add("--everything", action="store_true", help="every object (the default without prompts)")
    add("--detections", metavar="FILE", help="boxes or masks of a detector: COCO results of one image")
    parser.add_white(label)
    parser.add_names(label)
    parser.add_models(label)
    parser.add_everything(label)
    add = label.add_argument_group("cluster (pip install 'segzs[ray]')").add_argument
    where = "label a folder or URI (s3://bucket/photos) on Ray: auto, local, or the address of a cluster"
    add("--ray", metavar="ADDRESS", help=where)
    add("--actors", type=parser.positive, metavar="N", help="processes with models (default: all that fit)")
    add("--actor-cpus", type=float, metavar="X", help="CPUs and threads of each (default 1)")
    add("--actor-gpus", type=float, metavar="X", help="GPUs of each, or a fraction (default 0)")
    add("--part", type=parser.positive, metavar="N", help="images per file of results (default 100)")
    add = label.add_argument_group("output").add_argument
    add("--out", metavar="DIR", help="write NAME.overlay.png, NAME.segzs.json and NAME.coco.json there")
    map_ = "a label for each pixel (NAME.map.png, .map.json, .map.overlay.png), or segments without overlap"
    add("--map", choices=["semantic", "panoptic"], help=map_)
    add("--overlays", action="store_true", help="of a directory: draw overlays into OUT/overlays")
    glob = "of a directory: only such files, as '*.jpg'"
    add("--glob", action="append", default=[], metavar="PATTERN", help=glob)
    add("--json", action="store_true", help="print a line of JSON per image instead of a table")
    add("--quiet", action="store_true", help="no progress on stderr")


def run(args: argparse.Namespace) -> int:
    prompts, everything = parse_prompts(args.objects), parser.everything_options(args)
    if prompts and (args.everything or everything):
        raise UsageError("--point and --box segment single objects; leave them out, or the options of everything mode")
    if args.detections and (prompts or args.everything or everything or len(args.images) > 1):
        raise UsageError("--detections takes one image, no prompts, and no options of everything mode")
    mode = _mode(args)
    if mode == FILES:
        return _label_files(args, prompts)
    from segzs.cli.label_many import label_many

    return label_many(args)


def _mode(args: argparse.Namespace) -> str:
    """What is labelled: image files, a directory, or a folder on a cluster; checks that the options work with it."""
    is_directory = len(args.images) == 1 and Path(args.images[0]).is_dir()
    mode = CLUSTER if args.ray else DIRECTORY if is_directory else FILES
    for option, modes in WORKS_WITH.items():
        if getattr(args, option) not in (None, False, []) and mode not in modes:
            flag = "--point and --box" if option == "objects" else f"--{option.replace('_', '-')}"
            raise UsageError(f"{flag} cannot be used with {mode}, only with {modes}")
    if mode != FILES and not args.out:
        raise UsageError(f"with {mode}, results are files; give a folder for them: --out DIR")
    if mode == CLUSTER and len(args.images) > 1:
        raise UsageError(f"--ray takes one folder, not {len(args.images)}; give the folder above them")
    return mode


def _label_files(args: argparse.Namespace, prompts: list[Prompt]) -> int:
    import segzs

    endings, several = results.MAP_ENDINGS if args.map == "semantic" else results.ENDINGS, len(args.images) > 1
    files: list[list[Path]] = [[]] * len(args.images)
    if args.out:
        files = results.output_files(args.out, args.images, endings, [args.detections])
    options = parser.load_options(args)
    message("loading models", quiet=args.quiet)
    segmenter = segzs.load(**options)
    failed = 0
    for image, outputs in zip(args.images, files, strict=True):
        message(f"{image}: segmenting", quiet=args.quiet)
        try:
            result = _segment(segmenter, image, prompts, args)
            results.report(result, image, outputs, as_json=args.json, title=several, quiet=args.quiet)
        except BrokenPipeError:
            raise
        except (SegzsError, OSError) as error:
            message(f"error: {error}" if image in str(error) else f"error: {image}: {error}")
            failed += 1
    if failed and several:
        message(f"{failed} of {len(args.images)} images failed")
    return 1 if failed else 0


def _segment(
    segmenter: Segmenter, file: str, prompts: list[Prompt], args: argparse.Namespace
) -> Segments | SemanticMap:
    from segzs.image import read_image

    image = segmenter.encode(read_image(file, white=args.white))
    if args.detections:
        segments = segmenter.regions(image, args.detections)
    elif prompts:
        segments = segmenter.segment(image, prompts)
    else:
        with share_progress(file, quiet=args.quiet) as progress:
            segments = segmenter.everything(image, **parser.everything_options(args), progress=progress)
    if args.map == "semantic":
        return segmenter.semantic(image, segments)
    return segmenter.panoptic(image, segments) if args.map else segments


def parse_prompts(objects: Sequence[Sequence[tuple[str, Any]]]) -> list[Prompt]:
    """The prompts of ``--point``, ``--box`` and ``--object``.

    Raises:
        UsageError: an object has no prompt or two boxes.
        PromptError: an object has only negative points, or its box is empty.
    """
    prompts = []
    for parts in objects:
        points = [value for kind, value in parts if kind == "point"]
        boxes = [value for kind, value in parts if kind == "box"]
        if not parts:
            raise UsageError("--object needs a --point or a --box after it")
        if len(boxes) > 1:
            raise UsageError("an object has two boxes; put --object between them if they are two objects")
        signs = [sign for _, _, sign in points]
        prompts.append(Prompt([(x, y) for x, y, _ in points], signs, boxes[0] if boxes else None))
    return prompts


def _point(text: str) -> tuple[float, float, bool]:
    parts = text.split(",")
    if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2].strip() not in ("+", "-")):
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y or X,Y,-")
    x, y = _numbers(parts[:2])
    return x, y, len(parts) == 2 or parts[2].strip() == "+"


def _box(text: str) -> tuple[float, ...]:
    parts = text.split(",")
    if len(parts) != 4:
        raise argparse.ArgumentTypeError(f"{text!r} is not X1,Y1,X2,Y2")
    return _numbers(parts)


def _numbers(parts: Sequence[str]) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in parts)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{','.join(parts)!r} holds something that is not a number") from None
