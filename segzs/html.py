"""How values look in a notebook: an image with a text for those who do not see it, and a table."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import PIL.Image

MAX_SIDE = 1024
"""Larger images are shown smaller, so that a notebook's file stays small."""


def figure(image: PIL.Image.Image | None, alt: str, caption: str, rows: Sequence[Sequence[str]] = ()) -> str:
    """HTML of an image, a caption, and a table that opens on a click.

    Args:
        image: None shows the caption alone.
        alt: what the image shows, for screen readers.
        caption: a line of text.
        rows: of the table, the header first.

    >>> figure(None, "", "no segments")
    '<figure style="margin:0"><figcaption>no segments</figcaption></figure>'
    """
    tag = "" if image is None else f'<img style="max-width:100%" alt="{escape(alt)}" src="{_data(image)}">'
    text = f"<figcaption>{escape(caption)}</figcaption>"
    if len(rows) > 1:
        text = f"<figcaption><details><summary>{escape(caption)}</summary>{_table(rows)}</details></figcaption>"
    return f'<figure style="margin:0">{tag}{text}</figure>'


def listing(texts: Iterable[str], most: int = 8) -> str:
    """Texts in a row, at most so many.

    >>> listing("abc", most=2)
    'a, b, ...'
    """
    every = list(texts)
    return ", ".join([*every[:most], *(["..."] if len(every) > most else [])])


def _table(rows: Sequence[Sequence[str]]) -> str:
    header, *body = rows
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in body)
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"
    )


def _data(image: PIL.Image.Image) -> str:
    """The image as a data URL: PNG where it is transparent, otherwise JPEG."""
    image, buffer = image.copy(), io.BytesIO()
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    kind = "png" if image.mode == "RGBA" else "jpeg"
    image.save(buffer, kind, **({"quality": 92, "subsampling": 0} if kind == "jpeg" else {}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
