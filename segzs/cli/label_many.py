"""``segzs label DIR``, in this process or on a Ray cluster."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from segzs.checks import counted
from segzs.cli.parser import everything_options, load_options
from segzs.cli.terminal import message, print_line, progress
from segzs.dataset.listing import ImageList, list_images
from segzs.dataset.pipeline import Failure

Step = tuple[int, tuple[Failure, ...]]
"""The number of images that were done, and those of them that failed."""


def label_many(args: argparse.Namespace) -> int:
    """Label a directory, or a folder or URI on a cluster; the exit status is 1 if an image failed."""
    images, out = list_images(args.images[0], glob=args.glob), args.out
    if args.ray:
        from segzs.dataset.storage import StorageFolder

        out = StorageFolder.at(args.out).name  # without options, which may hold secrets
    steps = _on_cluster(args, images) if args.ray else _in_process(args, images)
    done = failed = 0
    try:
        with closing(steps), progress(len(images), quiet=args.quiet) as advance:
            for count, failures in steps:
                for failure in failures:
                    message(f"error: {failure.file}: {failure.reason}")
                done, failed = done + count, failed + len(failures)
                advance(count)
    except KeyboardInterrupt:
        message(f"{done} of {counted(len(images), 'image')} done; repeat the command to resume")
        raise
    suffix = "" if args.ray else ".jsonl"
    text = f"{done - failed} of {counted(done, 'image')} labelled: {out}/segments{suffix}"
    message(f"{text}; {failed} failed: {out}/failures{suffix}" if failed else text, quiet=args.quiet)
    return 1 if failed else 0


def _in_process(args: argparse.Namespace, images: ImageList) -> Generator[Step, None, None]:
    import segzs
    from segzs.dataset.directory import label_directory
    from segzs.dataset.labeller import Labeller
    from segzs.formats.native import to_line

    options = load_options(args)
    message("loading models", quiet=args.quiet)
    labeller = Labeller.of(segzs.load(**options), **everything_options(args))
    with closing(label_directory(labeller, images, Path(args.out), overlays=args.overlays)) as results:
        for result in results:
            if args.json and not isinstance(result, Failure):
                print_line(to_line(result).decode().rstrip("\n"), keep_going=True)
            yield 1, (result,) if isinstance(result, Failure) else ()


def _on_cluster(args: argparse.Namespace, images: ImageList) -> Generator[Step, None, None]:
    from segzs.clip.support_set import SupportSet
    from segzs.dataset.cluster import label_cluster
    from segzs.dataset.labeller import load_labeller
    from segzs.loading import load

    options = load_options(args)
    if isinstance(options.get("examples"), dict):  # encoded here: the workers may not have the files
        options["examples"] = load(**options).examples
    elif "examples" in options:
        options["examples"] = SupportSet.load(options["examples"])
    sizes = {"actors": args.actors, "cpus": args.actor_cpus, "gpus": args.actor_gpus, "part": args.part}
    given = {name: value for name, value in sizes.items() if value is not None}
    work = partial(load_labeller, everything=everything_options(args), **options)
    with _without_logs(), closing(label_cluster(work, images, args.out, address=args.ray, **given)) as parts:
        for part in parts:
            yield part.labelled + len(part.failures), part.failures


@contextmanager
def _without_logs() -> Iterator[None]:
    """Silence Ray, which logs the begin and end of each dataset and a warning for each actor."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
