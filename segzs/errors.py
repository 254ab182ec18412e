"""Everything segzs raises on purpose.

SegzsError
 ├─ ImageError            a picture that cannot be read, or is not a picture
 ├─ PromptError           a point, box or mask that asks for nothing, or lies outside the image
 ├─ VocabularyError       labels or templates that cannot name anything
 ├─ ModelError            an unknown model, or one that is not on this machine
 │   ├─ WeightsError      a file that is not the checkpoint it should be
 │   ├─ ModelMismatchError  an image encoded by one model, decoded by another
 │   └─ UnknownModelError   an unknown model or dtype; a UsageError, too
 ├─ UsageError            a format, option or setting that there is not, or that does not go with the others
 ├─ AnnotationError       a file of masks and names that cannot be read, or does not fit its image
 └─ OutputError           a result that cannot be written where it should go
"""

from __future__ import annotations

import sys
import warnings


class SegzsError(Exception):
    """Base of all errors that segzs raises on purpose; the message says what to do."""


class ImageError(SegzsError, ValueError):
    """A picture cannot be read."""


class PromptError(SegzsError, ValueError):
    """A prompt asks for nothing, or lies outside the image."""


class VocabularyError(SegzsError, ValueError):
    """Labels or templates cannot name anything."""


class ModelError(SegzsError):
    """A model is unknown or not on this machine."""


class WeightsError(ModelError):
    """A file is not the checkpoint it should be: wrong hash, wrong keys, or no checkpoint at all."""


class ModelMismatchError(ModelError):
    """An image was encoded by another model than the one asked to decode it."""


class UsageError(SegzsError, ValueError):
    """A format, an option or a setting is asked for that there is not, or that does not go with the others."""


class UnknownModelError(ModelError, UsageError):
    """A model or a dtype is unknown."""


class AnnotationError(SegzsError, ValueError):
    """A file of masks and names cannot be read, or does not fit its image."""


class OutputError(SegzsError):
    """A result cannot be written where it should go."""


def warn(message: str, category: type[Warning]) -> None:
    """Warn of the line that called into segzs."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "segzs":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class SegzsWarning(UserWarning):
    """Base of all warnings that segzs gives: all goes on, with what the message says."""


class UnfamiliarWarning(SegzsWarning):
    """The embedded models are used on something that they were not made for."""
