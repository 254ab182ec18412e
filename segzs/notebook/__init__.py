"""The page where people click and name, in a cell of a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segzs.errors import OutputError
from segzs.image import ImageSource
from segzs.segmenter import Segmenter
from segzs.segments import Segments

if TYPE_CHECKING:
    from segzs.notebook.widget import Annotator


def annotate(segmenter: Segmenter, images: ImageSource, segments: Segments | None = None) -> Annotator:
    """The page for one image or many, as a widget for JupyterLab, VS Code, Colab and marimo.

    ``annotator = segzs.annotate(segmenter, "desk.jpg")`` as the last line of a cell shows it, and
    ``annotator.segments`` is what it holds at any time.

    Args:
        segmenter: the models and labels. Labels and examples that are changed on the page are those of
            ``annotator.segmenter``; the given one stays as it is.
        images: an image of any kind that `read_image` takes, a folder of images, or a list of paths.
        segments: segments of the image to begin with.

    Raises:
        OutputError: anywidget is not installed.
        ImageError: the image cannot be read, or there is none.
    """
    try:
        from segzs.notebook.widget import Annotator
    except ImportError as error:
        raise OutputError("this needs anywidget; run: pip install 'segzs[notebook]'") from error
    return Annotator(segmenter, images, segments)
