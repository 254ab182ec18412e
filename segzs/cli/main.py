"""``segzs``: run a command. Results go to stdout; progress and messages go to stderr."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from segzs.cli.parser import build_parser
from segzs.cli.terminal import discard, message
from segzs.errors import PromptError, SegzsError, SegzsWarning, UsageError, VocabularyError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``segzs``.

    Returns:
        the exit status: 0 success, 1 failure, 2 wrong use, 130 interrupted.
    """
    _prepare_streams()
    args = build_parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the warnings of libraries are not for the users of a command
            warnings.simplefilter("default", SegzsWarning)
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            return args.run(args)
    except (PromptError, UsageError, VocabularyError) as error:
        message(f"error: {error}")
        return 2
    except BrokenPipeError:  # the reader of stdout has ended, as in `segzs models | head -1`
        discard(sys.stdout)
        return 1
    except (SegzsError, OSError) as error:
        message(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        message("interrupted")
        return 130


def _prepare_streams() -> None:
    """Make stdout and stderr usable: they may be closed, or unable to encode a name."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _show_warning(warning: Warning | str, *_: Any, **__: Any) -> None:
    message(f"note: {warning}")


if __name__ == "__main__":
    sys.exit(main())
