"""Which kinds of things there are, and in which rooms they stand."""

from __future__ import annotations

from collections.abc import Callable

from .bakery import bagel, bread, egg
from .crockery import bowl, mug, plate, teapot, vase
from .cutlery import cutting_board, fork, knife, spoon
from .desk import alarm_clock, book, cell_phone, key, pencil, remote_control, scissors
from .fruit import apple, banana, lemon, orange, pear, strawberry
from .glassware import salt_shaker, tumbler, wine_bottle, wine_glass
from .lamps import candle, light_bulb, table_lamp
from .plants import potted_plant
from .textures import Random
from .things import Thing
from .toys import baseball, die, soccer_ball, tennis_ball
from .vegetables import bell_pepper, carrot, mushroom, tomato

Maker = Callable[[Random], Thing]
"""A kind: it makes a thing of its own shape and colours at each call."""

FOOD: tuple[Maker, ...] = (
    apple, orange, lemon, banana, pear, tomato, strawberry, carrot, mushroom, egg, bread, bagel, bell_pepper,
)  # fmt: skip
KITCHEN: tuple[Maker, ...] = (
    *FOOD, mug, plate, bowl, wine_glass, tumbler, wine_bottle, teapot, knife, spoon, fork, cutting_board, salt_shaker,
    potted_plant,
)  # fmt: skip
DESK: tuple[Maker, ...] = (
    book, pencil, alarm_clock, scissors, key, cell_phone, remote_control, die, tennis_ball, baseball, light_bulb,
    candle, potted_plant, table_lamp, mug, vase, tumbler, apple, banana, orange,
)  # fmt: skip
SHELF: tuple[Maker, ...] = (
    alarm_clock, potted_plant, vase, candle, baseball, tennis_ball, soccer_ball, book, teapot, mug, light_bulb, die,
    bowl, remote_control,
)  # fmt: skip
KINDS = {"kitchen": KITCHEN, "table": DESK + KITCHEN, "shelf": SHELF, "sill": DESK}
LARGE: tuple[Maker, ...] = (
    bowl, plate, vase, wine_bottle, teapot, wine_glass, mug, potted_plant, table_lamp, book, cutting_board, candle,
    alarm_clock, soccer_ball,
)  # fmt: skip
"""A scene begins with two of these."""
SMALL = {*FOOD, mug, die, pencil, key, book}
"""A scene holds up to two of each of these, and one of each other kind."""
ROUND: tuple[Maker, ...] = (apple, orange, lemon, pear, tomato, egg, bell_pepper, banana)
"""What lies in bowls."""
ON_BOOKS: tuple[Maker, ...] = (key, die, pencil, mug, apple)
