"""A picture of which names are taken for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw

from segzs.draw import font_for, shorten
from segzs.evaluate.measure import Row
from segzs.segments import UNKNOWN

MOST = 20
MORE = 10
"""Answers that may stand beside the names."""
OTHERS = "others"
CELL, LETTERS, GAP = 36, 15, 12
NAME_WIDTH = 190
INK, LINE = (25, 25, 25), (225, 225, 225)
RIGHT, WRONG = (34, 139, 84), (204, 68, 40)


def confusion(rows: Sequence[Row], most: int = MOST) -> tuple[list[str], list[str], np.ndarray]:
    """The names that are most often called something else, what they are called, and how often, (names, answers).

    Among the answers are the names themselves first, then what else they are called, most frequent first, "unknown"
    and "others" at the end; what does not occur is left out.
    """
    answered = [row for row in rows if row.answer]
    wrong = Counter(row.name for row in answered if row.answer != row.name)
    names = sorted(wrong, key=lambda name: (-wrong[name], name))[:most]
    given = Counter(row.answer for row in answered if row.name in names)
    ranked = [*names, *(answer for answer, _ in given.most_common() if answer not in (*names, UNKNOWN))]
    answers = [answer for answer in ranked if given[answer]][: most + MORE]
    answers += [UNKNOWN] * (given[UNKNOWN] > 0) + [OTHERS] * (set(given) - {UNKNOWN} > set(answers))
    table = np.zeros((len(names), len(answers)), int)
    for row in answered:
        if row.name in names:
            table[names.index(row.name), answers.index(row.answer if row.answer in answers else OTHERS)] += 1
    return names, answers, table


def draw_confusion(rows: Sequence[Row], most: int = MOST) -> PIL.Image.Image:
    """The confused names as a table: right names down, what they were called across, green where that is right."""
    names, answers, table = confusion(rows, most)
    left, top = NAME_WIDTH + GAP, NAME_WIDTH + GAP
    size = (left + CELL * max(len(answers), 8) + GAP, top + CELL * max(len(names), 1) + GAP)
    picture = PIL.Image.new("RGB", size, "white")
    pen = PIL.ImageDraw.Draw(picture)
    if not names:
        pen.text((GAP, GAP), "no name was taken for another", INK, font_for(LETTERS, ""))
        return picture
    pen.multiline_text(
        (GAP, GAP), "down: the right name\nacross: the answer", (110, 110, 110), font_for(LETTERS - 2, "")
    )
    for column, answer in enumerate(answers):
        picture.paste(_upright(answer), (left + column * CELL, GAP))
    for row, name in enumerate(names):
        y = top + row * CELL
        _write(pen, name, left - GAP // 2, y + CELL // 2, "rm")
        for column, count in enumerate(table[row]):
            x = left + column * CELL
            share = count / table[row].sum()
            colour = RIGHT if answers[column] == name else WRONG
            fill = tuple(round(255 + (part - 255) * share**0.7) for part in colour)
            pen.rectangle((x, y, x + CELL, y + CELL), fill if count else "white", LINE)
            if count:
                ink = "white" if share > 0.55 else INK
                pen.text((x + CELL // 2, y + CELL // 2), str(count), ink, font_for(LETTERS, ""), anchor="mm")
    return picture


def _upright(name: str) -> PIL.Image.Image:
    """A name as a picture, written from below to above."""
    label = PIL.Image.new("RGB", (NAME_WIDTH, CELL), "white")
    _write(PIL.ImageDraw.Draw(label), name, GAP // 2, CELL // 2, "lm")
    return label.transpose(PIL.Image.Transpose.ROTATE_90)


def _write(pen: PIL.ImageDraw.ImageDraw, name: str, x: int, y: int, anchor: str) -> None:
    font = font_for(LETTERS, name)
    pen.text((x, y), shorten(name, font, NAME_WIDTH - GAP), INK, font, anchor)
