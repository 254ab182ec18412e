"""The image and the visible mask of each thing, with the path tracer `mitsuba` and the denoiser `pyoidn`."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from .camera import Camera
from .compose import Scene
from .things import Material, Part

BOUNCES = 14
PASS = 4
"""Light paths a pixel that are traced at once; more would take much memory."""
FINER = 3
"""Masks are rendered this much larger; of the things in a pixel, the most frequent is visible."""


def package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise SystemExit(f"rendering needs the package {name}; run: pip install mitsuba pyoidn") from None


def tracer() -> ModuleType:
    """mitsuba, compiled by LLVM where its library is installed, else interpreted, which takes three times as long."""
    mitsuba = package("mitsuba")
    try:
        mitsuba.set_variant("llvm_ad_rgb")
        package("drjit").eval(mitsuba.Float(1) + 1)
    except (RuntimeError, ImportError):
        mitsuba.set_variant("scalar_rgb")
    return mitsuba


def plain(value: Any) -> Any:
    """A description with arrays as one with mitsuba's textures."""
    if isinstance(value, dict) and value.get("type") == "bumpmap":
        return {"type": "bumpmap", "heights": texture(value["heights"]), "nested": plain(value["nested"])}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return texture(value) if isinstance(value, np.ndarray) else value


def texture(value: np.ndarray) -> dict:
    if value.ndim == 1:
        return {"type": "rgb", "value": value.clip(0).tolist()}
    mitsuba = package("mitsuba")
    values = np.ascontiguousarray(value if value.ndim == 3 else value[..., None], np.float32)
    return {"type": "bitmap", "bitmap": mitsuba.Bitmap(values), "raw": True, "wrap_mode": "mirror"}


def shape(part: Part, material: Material, glow: np.ndarray | None = None) -> Any:
    """The part as mitsuba's mesh."""
    mitsuba = package("mitsuba")
    properties = mitsuba.Properties()
    see_through = material["type"] == "dielectric"
    properties["bsdf"] = mitsuba.load_dict(plain(material if see_through else {"type": "twosided", "nested": material}))
    if glow is not None:
        properties["emitter"] = mitsuba.load_dict({"type": "area", "radiance": plain(glow)})
    mesh = mitsuba.Mesh("part", len(part.mesh.points), len(part.mesh.faces), properties, True, True)
    parameters = mitsuba.traverse(mesh)
    for name, values in (
        ("vertex_positions", part.mesh.points),
        ("vertex_normals", part.mesh.normals),
        ("vertex_texcoords", part.mesh.uv),
    ):
        parameters[name] = np.ascontiguousarray(values, np.float32).ravel()
    parameters["faces"] = np.ascontiguousarray(part.mesh.faces, np.uint32).ravel()
    parameters.update()
    return mesh


def sensor(camera: Camera, width: int, height: int, lens: str) -> dict:
    mitsuba = package("mitsuba")
    to_world = mitsuba.ScalarTransform4f().look_at(
        origin=camera.eye.tolist(), target=camera.target.tolist(), up=camera.up.tolist()
    )
    blur = {"aperture_radius": camera.aperture, "focus_distance": camera.focus} if lens == "thinlens" else {}
    film = {"type": "hdrfilm", "width": width, "height": height, "pixel_format": "rgb", "component_format": "float32"}
    return {
        "type": lens,
        "to_world": to_world,
        "fov": camera.view,
        "fov_axis": "x",
        "near_clip": 1.0,
        "far_clip": 1e4,
        **blur,
        "film": {**film, "filter": {"type": "box"}},
        "sampler": {"type": "independent"},
    }


def render(scene: Scene, width: int, height: int, samples: int) -> np.ndarray:
    """Linear radiance (height, width, 3), denoised."""
    mitsuba = tracer()
    features = "albedo:albedo,normal:sh_normal"
    path = {"type": "path", "max_depth": BOUNCES, "rr_depth": 6}
    world = {
        "type": "scene",
        "integrator": {"type": "aov", "aovs": features, "image": path},
        "sensor": sensor(scene.camera, width, height, "thinlens"),
        "around": {"type": "envmap", "bitmap": mitsuba.Bitmap(scene.around.astype(np.float32)),
                   "to_world": mitsuba.ScalarTransform4f().rotate([1, 0, 0], 90)},
    }  # fmt: skip
    for number, part in enumerate([*scene.room, *(part for thing in scene.things for part in thing.parts)]):
        world[f"part{number}"] = shape(part, part.material, part.glow)
    loaded, rounds = mitsuba.load_dict(world), max(samples // PASS, 1)
    passes = [np.array(mitsuba.render(loaded, spp=PASS, seed=scene.seed * 1000 + k)) for k in range(rounds)]
    layers = np.mean([healed(layer) for layer in passes], 0)
    colour, albedo, normal = (np.ascontiguousarray(layers[..., k : k + 3]) for k in (0, 3, 6))
    return package("pyoidn").denoise(calmed(colour), albedo.clip(0, 1), normal.clip(-1, 1), hdr=True)


def healed(layer: np.ndarray) -> np.ndarray:
    """Pixels that are not finite, replaced by the mean of their finite neighbours."""
    good = np.isfinite(layer).all(-1)
    values = np.where(good[..., None], layer, 0).astype(np.float32)
    around, weight = cv2.blur(values, (3, 3)), cv2.blur(good.astype(np.float32), (3, 3))
    return np.where(good[..., None], values, around / np.maximum(weight, 1e-6)[..., None])


def calmed(colour: np.ndarray) -> np.ndarray:
    """Pixels far brighter than all their neighbours, brought down to the brightest of these."""
    ring = np.ones((3, 3), np.uint8)
    ring[1, 1] = 0
    return np.minimum(colour, 1.5 * cv2.dilate(colour, ring) + 0.01)


def indices(scene: Scene, width: int, height: int) -> np.ndarray:
    """int (height, width): 0 for the room, 1 + the number of the thing that the pixel shows, without blur."""
    mitsuba = tracer()
    world = {
        "type": "scene",
        "integrator": {"type": "aov", "aovs": "number:albedo"},
        "sensor": sensor(scene.camera, FINER * width, FINER * height, "perspective"),
    }
    parts = [(part, 0) for part in scene.room]
    parts += [(part, number) for number, thing in enumerate(scene.things, 1) for part in thing.parts]
    for number, (part, value) in enumerate(parts):
        world[f"part{number}"] = shape(part, {"type": "diffuse", "reflectance": np.full(3, value / 256)})
    fine = (np.array(mitsuba.render(mitsuba.load_dict(world), spp=1))[..., 0] * 256).round().astype(int)
    blocks = fine.reshape(height, FINER, width, FINER)
    votes = np.stack([(blocks == value).sum((1, 3)) for value in range(len(scene.things) + 1)])
    return votes.argmax(0)
