"""The command line as data: its parsers, and how an option is spelt."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from segzs import __version__
from segzs.models.registry import PRESETS
from segzs.models.settings import ENGINES

EXAMPLES = """examples:
  segzs label desk.jpg                                      every object, named from the general vocabulary
  segzs label desk.jpg --labels laptop,cup,"apple tree"     ... among these
  segzs label desk.jpg --labels labels.txt --out out/       ... among a file's lines; files into out/
  segzs label desk.jpg --point 350,340                      the object at a pixel
  segzs label desk.jpg --point 350,340 --point 430,400,-      ... without what is at another
  segzs label desk.jpg --box 41,22,195,224 --object --point 350,340     two objects
  segzs label photo.jpg --model vit_b --json                better models (fetch them first), JSON on stdout
  segzs label photos/ --labels labels.txt --out out/        all pictures below a folder; run it again to go on
  segzs label s3://bucket/photos --ray auto --out s3://bucket/out     ... on a cluster

exit status: 0 all done, 1 something failed (said on stderr; the other pictures are done), 2 wrong use,
  130 stopped by Ctrl-C
"""


CONVERT_EXAMPLES = """examples:
  segzs convert out/ --to yolo --out dataset/               what segzs label --out out/ wrote, for ultralytics
  segzs convert out/desk.segzs.json --to cvat               out/desk.cvat.xml
  segzs convert people.json --to labelme --polygons         a COCO file, to be edited in labelme
  segzs convert out/ --to coco-results --like truth.json    for COCOeval
"""
FIND_EXAMPLES = """examples:
  segzs find desk.jpg "the red mug"                         a table, the best first; nothing where there is none
  segzs find desk.jpg --like mug.png --out out/             ... and a picture of what was found
"""
SEARCH_EXAMPLES = """examples:
  segzs search out/ "red bicycle"                           a table: score, file, name, box
  segzs search out/ --like crop.png -n 50 --sheet found.png     ... and a picture of them
"""
EVALUATE_EXAMPLES = """examples:
  segzs evaluate annotations.json --images photos/ --out report/     masks, everything mode, names
  segzs evaluate annotations.json --what names --limit 100           of 100 pictures the names alone
  segzs evaluate annotations.json --what names --compare a.yaml b.yaml   vocabularies, crops, models; a paired test
  segzs evaluate annotations.json --choices                          which crops and templates name best
  segzs evaluate imagenette/val --labels labels.txt                  pictures in a folder a class; labels in their order
"""
READ = ("segzs", "coco", "labelme", "parquet")
WRITTEN = (*READ, "coco-results", "coco-panoptic", "yolo", "label-studio", "cvat", "voc")


class AddToObject(argparse.Action):
    """Collect --point and --box into the object that --object opened last."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        objects = namespace.objects = [list(group) for group in namespace.objects]
        if self.dest == "object":
            objects.append([])
            return
        if not objects:
            objects.append([])
        objects[-1].append((self.dest, values))


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``segzs``."""
    parser = argparse.ArgumentParser(
        prog="segzs", description="Promptable segmentation with names: SAM masks, named by CLIP among your labels."
    )
    parser.add_argument("--version", action="version", version=f"segzs {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_label(commands)
    _add_find(commands)
    _add_classify(commands)
    _add_convert(commands)
    _add_evaluate(commands)
    _add_search(commands)
    commands.add_parser("models", help="list the models, and which of them are here")
    fetch = commands.add_parser("fetch", help="download a preset, a SAM alone as sam:NAME, or a CLIP")
    fetch.add_argument("name", metavar="NAME", help="vit_b, or ViT-B-16:datacomp_xl_s13b_b90k, or hf-hub:ORG/NAME")
    fetch.add_argument("--to", metavar="DIR", help="folder to put it in (default: the user cache, SEGZS_CACHE)")
    cache = commands.add_parser(
        "cache", help="show how much encoded images and labels and converted models take on disk, or clear them"
    )
    cache.add_argument("--clear", action="store_true", help="forget them all")
    commands.add_parser("doctor", help="check versions, devices, and the checkpoints that are here")
    return parser


def _add_label(commands: Any) -> None:
    label = commands.add_parser(
        "label",
        help="find objects in pictures and name them",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Find objects in pictures and name them: those that are asked for, or without prompts all.",
    )
    label._negative_number_matcher = re.compile(r"-[\d.]")  # a box may begin outside: --box -10,-10,50,50
    label.add_argument("images", nargs="+", metavar="IMAGE|DIR", help="picture files, or one directory")
    prompts = label.add_argument_group("prompts, in pixels from the upper left corner")
    prompts.set_defaults(objects=[])
    prompts.add_argument(
        "--point", action=AddToObject, type=_point, metavar="X,Y[,-]", help="on the object; ,- is off it"
    )
    prompts.add_argument("--box", action=AddToObject, type=_box, metavar="X1,Y1,X2,Y2", help="around the object")
    prompts.add_argument(
        "--object", action=AddToObject, nargs=0, help="the points and the box that follow are another object"
    )
    prompts.add_argument("--everything", action="store_true", help="every object (what happens without prompts)")
    prompts.add_argument("--regions", metavar="FILE", help="of one picture: what a detector found, COCO results")
    _add_names(label)
    _add_models(label)
    _add_grid(label)
    cluster = label.add_argument_group("a cluster (pip install 'segzs[ray]')")
    cluster.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="label a folder or URI (s3://bucket/photos) on Ray: auto, local, or where the cluster is",
    )
    cluster.add_argument(
        "--actors", type=_count, metavar="N", help="processes with models (default: all there is room for)"
    )
    cluster.add_argument("--actor-cpus", type=float, metavar="X", help="processors and threads of each (default 1)")
    cluster.add_argument(
        "--actor-gpus", type=float, metavar="X", help="GPUs of each, or the fraction of one (default 0)"
    )
    cluster.add_argument("--part", type=_count, metavar="N", help="pictures of a file of results (default 100)")
    output = label.add_argument_group("output")
    output.add_argument("--out", metavar="DIR", help="write NAME.overlay.png, NAME.segzs.json and NAME.coco.json there")
    output.add_argument(
        "--map",
        choices=["semantic", "panoptic"],
        help="one label for every pixel (NAME.map.png, .map.json and .map.overlay.png), or segments without overlap",
    )
    output.add_argument("--overlays", action="store_true", help="of a directory: draw what was found into OUT/overlays")
    output.add_argument(
        "--glob", action="append", default=[], metavar="PATTERN", help="of a directory: only such files, as '*.jpg'"
    )
    output.add_argument("--json", action="store_true", help="print one line of JSON a picture instead of a table")
    output.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _add_names(command: Any, *, objects: bool = True) -> None:
    names = command.add_argument_group("names")
    names.add_argument(
        "--labels",
        metavar="A,B,C|FILE|LIST",
        help="labels, a file (a label a line; CSV, YAML, JSON), or imagenet, coco, ade20k, everyday",
    )
    names.add_argument("--templates", metavar="SET|TEXT", help="simple (7), imagenet (80), or 'a photo of a {}'")
    names.add_argument(
        "--weighting", choices=["mean", "autoclip"], default="mean", help="trust all templates alike, or weigh them"
    )
    names.add_argument(
        "--unknown",
        type=_unknown,
        default="auto",
        metavar="COSINE|never",
        help="similarity under which an object is unknown (default: what general words say of it)",
    )
    names.add_argument(
        "--examples", metavar="FILE|DIR", help="name by showing: a folder of pictures for each label, or a saved file"
    )
    if not objects:  # whole pictures
        return
    names.add_argument(
        "--background", choices=["blur", "grey", "cut", "keep"], help="what surrounds an object when it is named"
    )
    names.add_argument("--margin", type=_margin, metavar="X", help="... and how much of it: a share of the longer side")
    names.add_argument(
        "--scales", type=_scales, metavar="X,Y", help="look at it so many times as large: 1,2 averages two looks"
    )
    names.add_argument(
        "--naming",
        choices=["crops", "pooled", "both"],
        help="look at every object by itself, or once at all of the picture: faster for hundreds, less exact; or both",
    )


def _add_models(command: Any, *, sam: bool = True) -> None:
    models = command.add_argument_group("models")
    models.add_argument(
        "--model", choices=PRESETS, metavar="NAME", help=f"{', '.join(PRESETS)} (default: SEGZS_MODEL, or tiny)"
    )
    models.add_argument("--clip", help="another CLIP: ARCHITECTURE:TAG, hf-hub:ORG/NAME, a folder, ARCHITECTURE:FILE")
    models.add_argument("--device", default="auto", help="cpu, cuda, mps, or auto (default)")
    models.add_argument(
        "--dtype", choices=["auto", "float32", "bfloat16"], default="auto", help="what models compute with"
    )
    models.add_argument("--no-cache", action="store_true", help="keep nothing that was encoded or converted on disk")
    if not sam:
        return
    models.add_argument("--sam", help="another SAM: a name, or ARCHITECTURE:FILE")
    models.add_argument(
        "--engine", choices=ENGINES, help="what computes SAM: torch (default, or SEGZS_ENGINE), openvino"
    )


def _add_grid(command: Any, *, names: bool = True) -> None:
    grid = command.add_argument_group("everything mode")
    grid.add_argument("--points-per-side", type=_count, metavar="N", help="points on a side of the grid")
    alone = "0 to 1; then SAM alone decides"
    grid.add_argument("--predicted-iou", type=float, metavar="X", help=f"drop masks that SAM thinks worse of ({alone})")
    grid.add_argument("--stability", type=float, metavar="X", help=f"drop masks of uncertain outline ({alone})")
    grid.add_argument("--min-area", type=int, metavar="PIXELS", help="drop smaller masks (default 100)")
    grid.add_argument("--max-masks", type=_count, metavar="N", help="keep the best N")
    grid.add_argument("--tiles", type=_count, metavar="N", help="look at N x N tiles, too: for small objects")
    grid.add_argument(
        "--adaptive", action="store_true", default=None, help="ask densely only where something is: faster"
    )
    if names:
        grid.add_argument(
            "--merge",
            action=argparse.BooleanOptionalAction,
            help="join fragments of one name that touch (default: yes)",
        )


def _add_find(commands: Any) -> None:
    find = commands.add_parser(
        "find",
        help="find objects of a picture by words or by an example",
        epilog=FIND_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Find the objects of a picture that words describe, or that look like an example; maybe none.",
    )
    find.add_argument("image", metavar="IMAGE", help="a picture file")
    find.add_argument("words", nargs="?", metavar="WORDS", help="what to look for")
    find.add_argument("--like", metavar="FILE", help="look for what is like a picture of one object")
    find.add_argument(
        "--least", type=float, default=0.5, metavar="X", help="leave out what fits less, 0 to 1 (default 0.5)"
    )
    _add_models(find)
    _add_grid(find, names=False)
    find.add_argument("--out", metavar="DIR", help="write NAME.overlay.png, NAME.segzs.json and NAME.coco.json there")
    find.add_argument("--json", action="store_true", help="print a line of JSON instead of a table")


def _add_classify(commands: Any) -> None:
    classify = commands.add_parser(
        "classify",
        help="name whole pictures",
        description="Name whole pictures among labels by CLIP alone: a table of file, name and probability.",
    )
    classify.add_argument("images", nargs="+", metavar="FILE|DIR", help="picture files, or folders of them")
    _add_names(classify, objects=False)
    _add_models(classify, sam=False)
    classify.add_argument(
        "--glob", action="append", default=[], metavar="PATTERN", help="of a directory: only such files, as '*.jpg'"
    )
    classify.add_argument("--json", action="store_true", help="print a line of JSON a picture instead of a table")


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="measure masks and names on annotated pictures",
        epilog=EVALUATE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measure how good masks and names are on pictures whose objects are known.",
    )
    evaluate.add_argument(
        "annotations", metavar="FILE|DIR", help="a COCO file, or a folder with a folder of pictures for each class"
    )
    evaluate.add_argument("--images", metavar="DIR", help="where a COCO file's pictures are (default: beside it)")
    evaluate.add_argument(
        "--what", type=_parts, metavar="A,B", help="only these: masks, everything, names (default: all)"
    )
    evaluate.add_argument("--limit", type=_count, metavar="N", help="so many pictures, chosen at random")
    evaluate.add_argument("--objects-per-image", type=_count, metavar="N", help="at most so many objects of each")
    evaluate.add_argument("--clicks", type=_count, metavar="N", help="give up after so many (default 20)")
    evaluate.add_argument(
        "--removed", type=float, metavar="SHARE", help="of the labels, to measure unknown (default 0.5)"
    )
    evaluate.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn at random (default 0)")
    evaluate.add_argument(
        "--compare", nargs=2, metavar="YAML", help="two files with segzs.load's options, side by side"
    )
    evaluate.add_argument("--choices", action="store_true", help="compare all crop modes and sets of templates")
    _add_names(evaluate)
    _add_models(evaluate)
    _add_grid(evaluate)
    output = evaluate.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", help="write all figures there")
    output.add_argument("--out", metavar="DIR", help="write report.json, report.md and confusion.png there")
    output.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _add_convert(commands: Any) -> None:
    convert = commands.add_parser(
        "convert",
        help="write results, or masks from elsewhere, in another format",
        epilog=CONVERT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Write results that were made earlier, or masks from elsewhere, in the format of another tool.",
    )
    convert.add_argument("inputs", nargs="+", metavar="IN", help="files or folders; several become one")
    convert.add_argument("--to", required=True, metavar="FORMAT", help=f"written: {', '.join(WRITTEN)}")
    convert.add_argument("--out", metavar="PATH", help="the file or folder to write (default: beside the first IN)")
    convert.add_argument(
        "--from", dest="source", metavar="FORMAT", help=f"read: {', '.join(READ)} (default: found out)"
    )
    convert.add_argument("--categories", metavar="A,B,C|FILE", help="labels in the order of their ids; others follow")
    convert.add_argument("--base", type=int, metavar="N", help="id of the first category (COCO; default 1)")
    convert.add_argument("--polygons", action="store_true", default=None, help="polygons where masks are the default")
    convert.add_argument("--like", metavar="FILE", help="COCO file whose ids coco-results take, to be compared with it")


def _add_search(commands: Any) -> None:
    index = commands.add_parser(
        "index",
        help="make the segments of a directory searchable",
        description="Store a CLIP feature of every segment that segzs label DIR --out OUT found; again: of new ones.",
    )
    search = commands.add_parser(
        "search",
        help="find segments of a directory by words or by a picture",
        epilog=SEARCH_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Find the segments that are most like words or a picture, in what segzs index OUT stored.",
    )
    for command in (index, search):
        command.add_argument("out", metavar="OUT", help="what segzs label DIR --out OUT wrote")
    search.add_argument("query", nargs="?", metavar="WORDS", help="what to look for")
    search.add_argument("--like", metavar="FILE", help="look for what is like a picture of one object")
    search.add_argument("-n", "--limit", type=_count, default=10, metavar="N", help="so many (default 10)")
    search.add_argument("--json", action="store_true", help="print one line of JSON a segment instead of a table")
    search.add_argument("--sheet", metavar="FILE.png", help="draw what was found, with scores and names")
    for command in (index, search):
        command.add_argument("--clip", help="the CLIP: ARCHITECTURE:TAG, a folder, ... (default: that of OUT)")
        command.add_argument("--device", default="auto", help="cpu, cuda, mps, or auto (default)")
    index.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _point(text: str) -> tuple[float, float, bool]:
    parts = text.split(",")
    if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2].strip() not in ("+", "-")):
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y or X,Y,-")
    x, y = _floats(parts[:2], text)
    return x, y, len(parts) == 2 or parts[2].strip() == "+"


def _box(text: str) -> tuple[float, ...]:
    parts = text.split(",")
    if len(parts) != 4:
        raise argparse.ArgumentTypeError(f"{text!r} is not X1,Y1,X2,Y2")
    return _floats(parts, text)


def _margin(text: str) -> float:
    (margin,) = _floats([text], text)
    if not 0 <= margin <= 10:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to 10")
    return margin


def _scales(text: str) -> tuple[float, ...]:
    scales = _floats(text.split(","), text)
    if not all(1 <= scale <= 10 for scale in scales):
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers from 1 to 10")
    return scales


def _floats(parts: Sequence[str], text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in parts)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} has something that is no number") from None


def _count(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _unknown(text: str) -> float | str | None:
    if text in ("auto", "never"):
        return "auto" if text == "auto" else None
    with suppress(ValueError):
        if -1 <= (cosine := float(text)) <= 1:
            return cosine
    raise argparse.ArgumentTypeError(f"{text!r} is neither a cosine from -1 to 1 nor 'never'")
