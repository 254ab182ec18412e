"""The parser of ``segzs``: option groups that commands share, and the types of option values."""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Callable
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzs import __version__
from segzs.checkpoints.registry import PRESETS
from segzs.errors import ImageError, VocabularyError

if TYPE_CHECKING:
    from segzs.clip.vocabulary import Vocabulary

BUILT_IN_LABELS = ("coco", "imagenet", "ade20k", "everyday")
LABEL_FILES = (".txt", ".csv", ".json", ".yaml", ".yml")


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``segzs``; ``parse_args().run`` is the function of the command."""
    from segzs.cli import cache, classify, convert, doctor, evaluate, fetch, find, label, models, refine, search, serve

    parser = argparse.ArgumentParser(
        prog="segzs", description="Promptable segmentation with names: SAM masks, named by CLIP among your labels."
    )
    parser.add_argument("--version", action="version", version=f"segzs {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (label, find, classify, convert, evaluate, search, refine, serve, models, fetch, cache, doctor):
        module.add_parser(commands)
    return parser


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], help: str, epilog: str = ""
) -> argparse.ArgumentParser:
    """Add a command that ``run`` executes."""
    form, description = argparse.RawDescriptionHelpFormatter, f"{help[0].upper()}{help[1:]}."
    command = commands.add_parser(name, help=help, description=description, epilog=epilog, formatter_class=form)
    command.set_defaults(run=run)
    return command


def add_names(command: Any, *, regions: bool = True) -> None:
    """Add the options that choose names; without ``regions``, for whole images."""
    add = command.add_argument_group("names").add_argument
    kinds = "labels, a file with a label per line (or YAML, JSON), or coco, imagenet, ade20k, everyday"
    add("--labels", metavar="A,B,C|FILE|LIST", help=f"{kinds} (default: general labels)")
    add("--templates", metavar="SET|TEXT", help="simple (7), imagenet (80), or 'a photo of a {}'")
    weighting = "average the templates, or weight them for each object"
    add("--weighting", choices=["mean", "autoclip"], default="mean", help=weighting)
    unknown = "cosine similarity below which an object is 'unknown' (default: it must beat general labels)"
    add("--unknown", type=_unknown, default="auto", metavar="COSINE|never", help=unknown)
    add("--examples", metavar="DIR|FILE", help="images that show the labels: a folder per label, or a saved file")
    if regions:
        background = "the pixels around an object when CLIP encodes it"
        add("--background", choices=["blur", "grey", "cut", "keep"], help=background)
        add("--margin", type=float, metavar="X", help="context around an object, as a share of its longer side")
        how = "encode a crop of each object, or the whole image once, which is faster (default: what suits the CLIP)"
        add("--regions", choices=["crops", "pooled", "both"], help=how)


def add_models(command: Any, *, sam: bool = True) -> None:
    """Add the options that choose models and devices."""
    add = command.add_argument_group("models").add_argument
    names = ", ".join(PRESETS)
    add("--model", choices=PRESETS, metavar="NAME", help=f"{names} (default: SEGZS_MODEL, or tiny)")
    add("--clip", help="another CLIP: ARCHITECTURE:TAG, hf-hub:ORG/NAME, a folder, ARCHITECTURE:FILE")
    add("--device", default="auto", help="cpu, cuda, mps, or auto (default)")
    add("--dtype", choices=["auto", "float32", "bfloat16"], default="auto", help="of the models (default: auto)")
    add("--no-cache", action="store_true", help="do not cache embeddings on disk")
    if sam:
        add("--sam", help="another SAM: a name, or ARCHITECTURE:FILE")


def add_everything(command: Any, *, merge: bool = True) -> None:
    """Add the options of everything mode."""
    group = command.add_argument_group("everything mode")
    add, threshold = group.add_argument, "drop masks with a lower {} (0 to 1)"
    add("--points-per-side", type=positive, metavar="N", help="points on each side of the grid")
    add("--predicted-iou-threshold", type=float, metavar="X", help=threshold.format("predicted IoU"))
    add("--stability-score-threshold", type=float, metavar="X", help=threshold.format("stability score"))
    add("--min-area", type=int, metavar="PIXELS", help="drop smaller masks (default 100)")
    add("--max-masks", type=positive, metavar="N", help="keep the N best masks")
    add("--tiles", type=positive, metavar="N", help="segment N x N tiles, too, for small objects")
    fewer = "skip points that coarser ones make superfluous (default: yes)"
    add("--adaptive", action=argparse.BooleanOptionalAction, help=fewer)
    if merge:
        join = "merge touching fragments of the same name (default: yes)"
        add("--merge", action=argparse.BooleanOptionalAction, help=join)
    group.set_defaults(everything_options=[action.dest for action in group._group_actions])


def everything_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of `Segmenter.everything` that were given; wrong values are errors before models are loaded."""
    from segzs.sam.mask_generator import GeneratorOptions

    given = {name: value for name in args.everything_options if (value := getattr(args, name)) is not None}
    GeneratorOptions(**given)
    return given


def load_options(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `segzs.load`, or, for a command without SAM, of `load_classifier`."""
    from segzs.clip.regions import Naming

    given = vars(args)
    options: dict[str, Any] = {
        name: given[name] for name in ("model", "sam", "clip", "device", "dtype") if name in given
    }
    options["cache"] = not args.no_cache
    options["naming"] = Naming(**{name: given[name] for name in Naming.__dataclass_fields__ if name in given})
    if given.get("labels") is not None:
        options["labels"] = parse_labels(args.labels)
    if given.get("examples") is not None:
        options["examples"] = _examples(args.examples)
    return options


def parse_labels(text: str) -> Vocabulary:
    """The vocabulary of ``--labels``: a built-in list, a file, or labels separated by commas.

    A label that contains a comma is put in double quotes. A single label with the name of a built-in list is followed
    by a comma.

    Raises:
        VocabularyError: there are no labels, or the text is a folder or a misspelt built-in list.

    >>> parse_labels('cat, "salt, coarse"').labels
    ('cat', 'salt, coarse')
    """
    from segzs.clip.vocabulary import Vocabulary

    text = " ".join(text.split())
    if text in BUILT_IN_LABELS:
        return getattr(Vocabulary, text)()
    if Path(text).suffix.lower() in LABEL_FILES or os.path.isfile(text):
        return Vocabulary.read(text)
    if os.sep in text and os.path.isdir(text):
        raise VocabularyError(f"{text} is a folder; give a file of labels, or labels separated by commas")
    lists = [name for name in BUILT_IN_LABELS if name != "coco"]  # "cocoa" and "coconut" are labels
    if "," not in text and (similar := get_close_matches(text, lists, 1, 0.85)):
        raise VocabularyError(f"unknown list {text!r}; did you mean {similar[0]!r}? A single label ends with a comma")
    row = next(csv.reader([text], skipinitialspace=True), [])
    return Vocabulary([label for label in row if label.strip()])


def _examples(path: str) -> str | dict[str, list[str]]:
    """The argument ``examples`` of `load`: a saved file, or the images in the folders of a folder."""
    if not Path(path).is_dir():
        return path
    from segzs.dataset.listing import list_images

    folders = [entry for entry in sorted(Path(path).iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    if not folders:
        raise ImageError(f"--examples {path} holds no folders; a folder of images for each label is expected")
    examples: dict[str, list[str]] = {}
    for folder in folders:
        files = [str(folder / name) for name in list_images(folder).names]
        examples.setdefault(folder.name.replace("_", " "), []).extend(files)
    return examples


def add_white(command: Any) -> None:
    """Add the option that says which value of 16-bit files is white."""
    help = "the value that is white in image files of 16 bits, as 4095 for 12-bit data (default: 65535)"
    command.add_argument("--white", type=float, metavar="N", help=help)


def positive(text: str) -> int:
    """The type of an option that takes a whole number from 1 on."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _unknown(text: str) -> float | str | None:
    if text in ("auto", "never"):
        return "auto" if text == "auto" else None
    with suppress(ValueError):
        if -1 <= (cosine := float(text)) <= 1:
            return cosine
    raise argparse.ArgumentTypeError(f"{text!r} is neither a cosine similarity from -1 to 1 nor 'never'")
