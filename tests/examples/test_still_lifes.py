import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from examples.still_lifes.arrange import Arrangement
from examples.still_lifes.bakery import egg
from examples.still_lifes.geometry import box, lathe, rounded, tube
from examples.still_lifes.glassware import tumbler
from examples.still_lifes.things import Thing
from examples.still_lifes.toys import die

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMITTED = sorted(EXAMPLES.glob("still_life_*.json"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_the_masks_of_a_committed_scene_agree_with_its_image_and_boxes(path: Path) -> None:
    truth = json.loads(path.read_text())
    size = truth["height"], truth["width"]
    with Image.open(EXAMPLES / truth["image"]) as image:
        assert image.size == size[::-1]
    covered = np.zeros(size, int)
    for item in truth["objects"]:
        assert item["name"]
        assert tuple(item["segmentation"]["size"]) == size
        mask = coco_mask.decode(item["segmentation"])
        assert mask.sum() == item["area"] > 0
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert item["box"] == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        covered += mask
    assert covered.max() == 1
    assert len(truth["objects"]) >= 4


def test_three_scenes_are_committed() -> None:
    assert len(COMMITTED) == 3


@pytest.mark.parametrize(
    "mesh",
    [
        lathe(rounded([(0, 0), (2, 0), (2, 3), (0, 3)], 0.3)),
        box((2, 3, 4), 0.2),
        tube(np.linspace((0, 0, 0), (1, 2, 3), 20), 0.4),
    ],
    ids=["lathe", "box", "tube"],
)
def test_normals_are_unit_vectors_away_from_the_middle(mesh) -> None:
    assert np.linalg.norm(mesh.normals, axis=1) == pytest.approx(1)
    assert (((mesh.points - mesh.points.mean(0)) * mesh.normals).sum(1) > 0).mean() > 0.99
    assert mesh.faces.max() == len(mesh.points) - 1


@pytest.mark.parametrize("maker", [egg, tumbler, die], ids=lambda maker: maker.__name__)
def test_a_thing_stands_on_the_surface_and_is_the_same_for_a_seed(maker) -> None:
    first, second = (maker(np.random.default_rng(4)) for _ in range(2))
    assert first.points[:, 2].min() == pytest.approx(0)
    assert np.array_equal(first.points, second.points)


def dice(count: int) -> list[Thing]:
    rng = np.random.default_rng(1)
    group = Arrangement(rng, back=30)
    thing = die(rng)
    for _ in range(count):
        group.drop(thing, np.zeros(2), 1.5)
    return group.things


def test_things_set_down_in_one_spot_do_not_overlap() -> None:
    things = dice(4)
    assert len(things) == 4
    for number, thing in enumerate(things):
        for other in things[:number]:
            between = np.linalg.norm(thing.points[:, None, :2][::40] - other.points[None, :, :2][:, ::40], axis=-1)
            assert between.min() > 0.1


def test_no_thing_is_set_down_where_it_would_pass_the_wall() -> None:
    rng = np.random.default_rng(1)
    group = Arrangement(rng, back=0)
    assert not group.drop(die(rng), np.array([0, 10.0]), 0.5)
    assert group.things == []
