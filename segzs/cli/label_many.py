"""``segzs label DIR``, in this process or on a Ray cluster."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from segzs.checks import counted
from segzs.cli.parser import everything_options, load_options
from segzs.cli.terminal import message, print_line, progress


def label_directory(args: argparse.Namespace) -> int:
    """Label a directory; the exit status is 1 if an image failed."""
    import segzs
    from segzs.dataset.directory import label_directory
    from segzs.dataset.labeller import Labeller
    from segzs.dataset.listing import list_images
    from segzs.dataset.pipeline import Failure
    from segzs.formats.native import to_line

    out = Path(args.out)
    images = list_images(args.images[0], glob=args.glob)
    options = load_options(args)
    message("loading models", quiet=args.quiet)
    labeller = Labeller.of(segzs.load(**options), **everything_options(args))
    done = failed = 0
    try:
        with (
            closing(label_directory(labeller, images, out, overlays=args.overlays)) as results,
            progress(len(images), quiet=args.quiet) as advance,
        ):
            for result in results:
                done += 1
                if isinstance(result, Failure):
                    failed += 1
                    message(f"error: {result.file}: {result.reason}")
                elif args.json:
                    print_line(to_line(result).decode().rstrip("\n"), keep_going=True)
                advance(1)
    except KeyboardInterrupt:
        message(f"{done} of {counted(len(images), 'image')} done; repeat the command to resume")
        raise
    return _summary(done, failed, str(out / "segments.jsonl"), str(out / "failures.jsonl"), args.quiet)


def label_on_cluster(args: argparse.Namespace) -> int:
    """Label a folder or URI on a cluster; the exit status is 1 if an image failed."""
    from segzs.clip.support_set import SupportSet
    from segzs.dataset.cluster import label_cluster
    from segzs.dataset.labeller import load_labeller
    from segzs.dataset.storage import StorageFolder, list_stored_images
    from segzs.loading import load

    options = load_options(args)
    if isinstance(options.get("examples"), dict):
        options["examples"] = load(**options).examples
    elif "examples" in options:
        options["examples"] = SupportSet.load(options["examples"])
    message("listing images", quiet=args.quiet)
    images, out = list_stored_images(args.images[0], glob=args.glob), StorageFolder.at(args.out)
    sizes = {"actors": args.actors, "cpus": args.actor_cpus, "gpus": args.actor_gpus, "part": args.part}
    given = {name: value for name, value in sizes.items() if value is not None}
    work = partial(load_labeller, everything=everything_options(args), **options)
    done = failed = 0
    try:
        with (
            _without_logs(),
            closing(label_cluster(work, images, out.address, address=args.ray, **given)) as parts,
            progress(len(images), quiet=args.quiet) as advance,
        ):
            for part in parts:
                for failure in part.failures:
                    message(f"error: {failure.file}: {failure.reason}")
                done += part.labelled + len(part.failures)
                failed += len(part.failures)
                advance(part.labelled + len(part.failures))
    except KeyboardInterrupt:
        message(f"{done} of {counted(len(images), 'image')} done; repeat the command to resume")
        raise
    return _summary(done, failed, f"{out.name}/segments", f"{out.name}/failures", args.quiet)


def _summary(done: int, failed: int, segments: str, failures: str, quiet: bool) -> int:
    text = f"{done - failed} of {counted(done, 'image')} labelled: {segments}"
    message(f"{text}; {failed} failed: {failures}" if failed else text, quiet=quiet)
    return 1 if failed else 0


@contextmanager
def _without_logs() -> Iterator[None]:
    """Silence Ray, which logs the begin and end of each dataset and a warning for each actor."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
