"""All errors and warnings of segzs."""

from __future__ import annotations

import sys
import warnings


class SegzsError(Exception):
    """Base of all errors that segzs raises on purpose; the message says what to do."""


class ImageError(SegzsError, ValueError):
    """An image cannot be read."""


class ImageTooLargeError(ImageError):
    """An image has more pixels than are accepted."""


class PromptError(SegzsError, ValueError):
    """A prompt is empty or lies outside the image, or an option of everything mode is wrong."""


class VocabularyError(SegzsError, ValueError):
    """Labels or templates cannot be used."""


class ModelError(SegzsError):
    """A model is unknown or not on this machine."""


class WeightsError(ModelError):
    """A file is not the expected checkpoint: its hash or its keys differ, or it is not a checkpoint."""


class ModelMismatchError(ModelError):
    """Features of one model were given to another one."""


class UsageError(SegzsError, ValueError):
    """A format or an option is unknown, or options exclude each other."""


class UnknownModelError(ModelError, UsageError):
    """The name of a model or a dtype is unknown."""


class AnnotationError(SegzsError, ValueError):
    """A file of annotations cannot be read, or annotations belong to another image."""


class OutputError(SegzsError):
    """A result cannot be written."""


class OutOfMemoryError(SegzsError, MemoryError):
    """There is too little memory for a model, even for one image or prompt."""


class RequestError(SegzsError):
    """A session or a server refuses a request.

    ``status`` is the HTTP status. ``retry_after`` is the number of seconds to wait before the request is sent again.
    """

    def __init__(self, message: str, status: int = 400, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class SegzsWarning(UserWarning):
    """Base of all warnings of segzs; the call continues."""


class ImageWarning(SegzsWarning):
    """16-bit values are so small that the image is nearly black."""


class PromptWarning(SegzsWarning):
    """A point or box is probably in shares of the image, a box is smaller than a pixel, or a mask is empty."""


class UnfamiliarWarning(SegzsWarning):
    """An image or a word is unlike those that the embedded models were trained on."""


class CacheWarning(SegzsWarning):
    """The cache cannot read or write a file; the tensor is computed instead."""


class FormatWarning(SegzsWarning):
    """Data is left out: the format cannot hold it, or segzs cannot use it."""


class MapWarning(SegzsWarning):
    """The CLIP has no dense features, so pixels outside of all masks are "unknown" in a semantic map."""


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line outside of segzs that led to this call."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "segzs":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
