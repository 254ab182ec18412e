"""How values look in a notebook: a picture with a text for those who do not see it, and rows of details."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import PIL.Image

MAX_SIDE = 1024
"""Larger pictures are shown smaller, so that a notebook's file stays small."""


def figure(picture: PIL.Image.Image | None, alt: str, caption: str, rows: Sequence[Sequence[str]] = ()) -> str:
    """HTML of a picture, a caption, and a table that opens on a click.

    Args:
        picture: None shows the caption alone.
        alt: what the picture shows, for screen readers.
        caption: a line of text.
        rows: of the table, the header first.

    >>> figure(None, "", "no segments")
    '<figure style="margin:0"><figcaption>no segments</figcaption></figure>'
    """
    image = "" if picture is None else f'<img style="max-width:100%" alt="{escape(alt)}" src="{_data(picture)}">'
    text = f"<figcaption>{escape(caption)}</figcaption>"
    if len(rows) > 1:
        text = f"<figcaption><details><summary>{escape(caption)}</summary>{_table(rows)}</details></figcaption>"
    return f'<figure style="margin:0">{image}{text}</figure>'


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


def _data(picture: PIL.Image.Image) -> str:
    """The picture as a data URL: PNG where it is transparent, otherwise JPEG."""
    picture, buffer = picture.copy(), io.BytesIO()
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    kind = "png" if picture.mode == "RGBA" else "jpeg"
    picture.save(buffer, kind, **({"quality": 92, "subsampling": 0} if kind == "jpeg" else {}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
