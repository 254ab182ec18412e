"""``segzs label PATH --ray ADDRESS``: a folder or bucket on a Ray cluster, with progress."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

from segzs.cli.directory import progress
from segzs.cli.options import generator_options
from segzs.errors import PromptError

OPTIONS = {"actors": "actors", "actor_cpus": "cpus", "actor_gpus": "gpus", "part": "part"}


def is_asked_for(parsed: argparse.Namespace) -> bool:
    """Whether ``segzs label`` is to run on a cluster.

    Raises:
        PromptError: an option does not go with that, or only with that.
    """
    given = [name for name in OPTIONS if getattr(parsed, name) is not None]
    if not parsed.ray:
        if given:
            raise PromptError(f"--{given[0].replace('_', '-')} goes with --ray; say which cluster, as --ray auto")
        return False
    if len(parsed.images) > 1:
        raise PromptError(f"--ray labels one folder, not {len(parsed.images)} places; give the folder above them")
    if not parsed.out:
        raise PromptError("on a cluster results are files; say with --out DIR where they go")
    if parsed.objects:
        raise PromptError("on a cluster every object is asked for; leave out --point and --box")
    if parsed.json or parsed.overlays or parsed.map:
        raise PromptError(
            "--json, --overlays and --map do not go with --ray; its results are Parquet, see segzs convert"
        )
    return True


def label(parsed: argparse.Namespace, models: dict[str, Any], say: Callable[[str], None]) -> int:
    """Label a folder on a cluster and return the exit status: 1 where pictures failed."""
    from segzs.clip.support_set import SupportSet
    from segzs.dataset.cluster import label_cluster
    from segzs.dataset.labeller import load_labeller
    from segzs.dataset.storage import StorageFolder, list_stored_images
    from segzs.loading import load

    if (shown := models.get("examples")) is not None:
        models["examples"] = load(**models).examples if isinstance(shown, dict) else SupportSet.load(shown)
    report: Callable[[str], None] = (lambda text: None) if parsed.quiet else say
    report("looking for pictures")
    pictures, out = list_stored_images(parsed.images[0], glob=parsed.glob), StorageFolder.at(parsed.out)
    work = partial(load_labeller, everything=generator_options(parsed), **models)
    options = {OPTIONS[name]: getattr(parsed, name) for name in OPTIONS if getattr(parsed, name) is not None}
    labelled = failed = 0
    with (
        _without_logs(),
        closing(label_cluster(work, pictures, out.address, address=parsed.ray, **options)) as parts,
        progress(len(pictures), report, sys.stderr.isatty() and not parsed.quiet) as advance,
    ):
        for part in parts:
            labelled += part.labelled
            failed += len(part.failures)
            for failure in part.failures:
                say(f"error: {failure.file}: {failure.reason}")
            advance(part.labelled + len(part.failures), known=part.known)
    done = f"{labelled} of {labelled + failed} pictures labelled: {out.name}/segments"
    report(f"{done}; {failed} failed: {out.name}/failures" if failed else done)
    return 1 if failed else 0


@contextmanager
def _without_logs() -> Iterator[None]:
    """Ray Data logs how each dataset begins and ends, and Ray of every actor that it might not be restarted."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
