"""Find checkpoints on this machine and verify them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from segzs.checkpoints.registry import CLIPS, SAMS, ClipCheckpoint, SamCheckpoint
from segzs.errors import ModelError, UnknownModelError, WeightsError
from segzs.settings import embedded_folder, search_folders

CLIP_CONFIG = "open_clip_config.json"
CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
LOCAL = "local:"
"""Prefix of the names of the user's own folders and files, which may have the name of a registered model."""
EMBEDDED_CLIP = ("tiny_clip.json", "tiny_clip.safetensors")
PREPROCESSING = ("mean", "std", "interpolation", "resize_mode", "fill_color")


@dataclass(frozen=True)
class SamFile:
    """The registry row of a SAM, the path of its file, and the SHA-256 of the file."""

    spec: SamCheckpoint
    path: Path
    digest: str


@dataclass(frozen=True)
class ClipFiles:
    """The registry row of a CLIP, its open_clip configuration, the path of its weights, and their folder."""

    spec: ClipCheckpoint
    config: dict[str, Any]
    weights: Path
    folder: Path


def locate_sam(name: str | os.PathLike[str]) -> SamFile:
    """Find the file of a SAM by its name in the registry, or ``ARCHITECTURE:FILE`` for your own weights.

    Raises `ModelError` if the name is unknown or the file is missing, and `WeightsError` if its SHA-256 is another.

    >>> locate_sam("tiny").spec.architecture
    'tiny'
    """
    name = os.fspath(name)
    architecture, _, file = name.partition(":")
    if file:
        rows = {row.architecture: row for row in reversed(SAMS.values())}
        if architecture not in rows:
            raise UnknownModelError(f"unknown architecture {architecture!r}; choose from {', '.join(sorted(rows))}")
        path = Path(file).expanduser()
        if not path.is_file():
            raise ModelError(f"no such file: {path}")
        row = replace(rows[architecture], name=f"{architecture}:{path.name}", sha256="", url="")
        return SamFile(row, path, file_sha256(path))
    if name not in SAMS:
        raise UnknownModelError(f"unknown SAM {name!r}; choose from {', '.join(SAMS)}, or give ARCHITECTURE:FILE")
    row = SAMS[name]
    local = find_file(row.file)
    if local is None:
        size = f"{row.bytes / 1e6:,.0f} MB"
        raise ModelError(f"SAM {name} ({row.file}, {size}) is not on this machine; run: segzs fetch {name}")
    return SamFile(row, local, verify(row, local))


def locate_clip(name: str | os.PathLike[str]) -> ClipFiles:
    """Find the files of a CLIP.

    Args:
        name: one of

            - a name of the registry, open_clip's ``ARCHITECTURE:TAG``, or ``hf-hub:ORG/NAME``;
            - a folder with ``open_clip_config.json``, the weights, and the tokenizer if the model has its own;
            - a file of weights with its configuration beside it, of the same stem and ``.json``;
            - ``ARCHITECTURE:FILE`` for weights of an architecture of open_clip with its default preprocessing. Weights
              with QuickGELU, such as OpenAI's, need an architecture with it, such as ``ViT-B-32-quickgelu``.

    Raises:
        ModelError: the name is unknown, or the files are missing.
        WeightsError: weights are missing beside a configuration, or the configuration cannot be read.

    >>> locate_clip("tiny").spec.name
    'tiny'
    """
    name = os.fspath(name)
    if name == "tiny":
        folder = embedded_folder()
        config, weights = (folder / file for file in EMBEDDED_CLIP)
        if not (config.is_file() and weights.is_file()):
            raise ModelError(f"the embedded CLIP is missing from {folder}; install segzs again")
        verify(CLIPS["tiny"], weights)
        return ClipFiles(CLIPS["tiny"], read_config(config), weights, folder)
    local = Path(name).expanduser()
    row = ClipCheckpoint(f"{LOCAL}{local.resolve().name}")
    if local.is_dir():
        return clip_in(local, row)
    if local.is_file():
        config = local.with_suffix(".json")
        if not config.is_file():
            raise WeightsError(f"{local} needs its open_clip configuration beside it, as {config.name}")
        return ClipFiles(row, read_config(config), local, local.parent)
    architecture, _, file = name.partition(":")
    if file and (path := Path(file).expanduser()).is_file():
        row = ClipCheckpoint(f"{architecture}:{path.name}")
        return ClipFiles(row, builtin_config(architecture), path, path.parent)
    row = CLIPS.get(name, ClipCheckpoint(name))
    for folder in search_folders():
        if (folder / clip_folder_name(name) / CLIP_CONFIG).is_file():
            return clip_in(folder / clip_folder_name(name), row)
    hub_of(name)
    raise ModelError(f"CLIP {name} is not on this machine; run: segzs fetch {name}")


def clip_in(folder: Path, row: ClipCheckpoint) -> ClipFiles:
    """The files of a CLIP in a folder; raises `WeightsError` if one is missing."""
    if not (folder / CLIP_CONFIG).is_file():
        raise WeightsError(f"{folder} has no {CLIP_CONFIG}; it is not a CLIP that open_clip saved")
    for name in CLIP_WEIGHTS:
        if (folder / name).is_file():
            return ClipFiles(row, read_config(folder / CLIP_CONFIG), folder / name, folder)
    raise WeightsError(
        f"{folder} has a configuration but none of {', '.join(CLIP_WEIGHTS)}, as after a broken download; {remedy(row)}"
    )


def is_clip_here(name: str) -> bool:
    """Whether a CLIP can be loaded without a download."""
    try:
        locate_clip(name)
    except ModelError:
        return False
    return True


def find_file(name: str) -> Path | None:
    """The first file of that name in the search folders."""
    return next((folder / name for folder in search_folders() if (folder / name).is_file()), None)


def verify(row: SamCheckpoint | ClipCheckpoint, path: Path) -> str:
    """The SHA-256 of a checkpoint's file; raises `WeightsError` if the registry row states another one."""
    digest = file_sha256(path)
    if row.sha256 and digest != row.sha256:
        advice = "install segzs again" if row.name == "tiny" else f"delete it and run: segzs fetch {row.name}"
        raise WeightsError(
            f"{path} has SHA-256 {digest[:16]}..., but {row.name} has {row.sha256[:16]}...: the file is damaged or "
            f"another model's; {advice}"
        )
    return digest


def verify_clip(name: str) -> Path:
    """Check the weights of a CLIP against their own length and the hub's SHA-256, and return their path."""
    files = locate_clip(name)
    if files.weights.suffix == ".safetensors":
        try:
            with safe_open(files.weights, "np"):
                pass
        except SafetensorError as error:
            raise WeightsError(f"{files.weights} is damaged: {error}; delete it and run: segzs fetch {name}") from error
    for file in changed_files(files.folder):
        raise WeightsError(f"{file} is not what the hub published; delete it and run: segzs fetch {name}")
    return files.weights


def changed_files(folder: Path) -> Iterator[Path]:
    """The large files of a downloaded CLIP whose SHA-256 differs from the one that the hub published."""
    for metadata in (folder / ".cache" / "huggingface" / "download").glob("*.metadata"):
        file, lines = folder / metadata.stem, metadata.read_text().split()
        if len(lines) > 1 and len(lines[1]) == 64 and file.is_file() and file_sha256(file) != lines[1]:
            yield file


def remedy(row: ClipCheckpoint) -> str:
    """What to do about missing files of a CLIP."""
    return "copy it there" if row.name.startswith(LOCAL) else f"run: segzs fetch {row.name}"


def read_config(path: Path) -> dict[str, Any]:
    """Read an open_clip configuration: ``model_cfg`` and ``preprocess_cfg``; raises `WeightsError` for other files."""
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} is not a configuration: {error}") from error
    if not isinstance(config, dict) or "model_cfg" not in config:
        raise WeightsError(f"{path} is not an open_clip configuration: it has no model_cfg")
    return config


def builtin_config(architecture: str, tag: str | None = None) -> dict[str, Any]:
    """The configuration that open_clip has for an architecture and a pretrained tag.

    Without a tag, the preprocessing is the one that all tags of the architecture share; raises `ModelError` if they
    differ.

    >>> builtin_config("ViT-B-32")["model_cfg"]["embed_dim"]
    512
    """
    import open_clip

    model = open_clip.get_model_config(architecture)
    if model is None:
        raise UnknownModelError(f"unknown architecture {architecture!r}; choose from open_clip.list_models()")
    tags = [tag] if tag else open_clip.list_pretrained_tags_by_model(architecture)
    rows = [open_clip.get_pretrained_cfg(architecture, name) or {} for name in tags]
    preprocessing = [{key: row[key] for key in PREPROCESSING if key in row} for row in rows] or [{}]
    if any(other != preprocessing[0] for other in preprocessing):
        raise ModelError(
            f"the pretrained weights of {architecture} differ in their preprocessing; put an open_clip configuration "
            "beside the file (same stem, .json) and give the file alone"
        )
    if tag and rows[0].get("quick_gelu"):
        model["quick_gelu"] = True
    return {"model_cfg": model, "preprocess_cfg": preprocessing[0]}


def hub_of(name: str) -> str:
    """The hub repository of a CLIP; raises `ModelError` if open_clip has no such CLIP or the hub no such format.

    >>> hub_of("ViT-B-32:openai")
    'timm/vit_base_patch32_clip_224.openai'
    """
    if name in CLIPS and CLIPS[name].hub:
        return CLIPS[name].hub
    if name.startswith("hf-hub:"):
        return name.removeprefix("hf-hub:")
    import open_clip

    architecture, _, tag = name.partition(":")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in tags:
        hint = f"choose a tag from {', '.join(tags)}" if tags else "give ARCHITECTURE:TAG, hf-hub:ORG/NAME, or a folder"
        raise UnknownModelError(f"unknown CLIP {name!r}; {hint}")
    hub = open_clip.get_pretrained_cfg(architecture, tag).get("hf_hub", "").strip("/")
    if hub.count("/") != 1:  # no hub, or the path of a single file
        where = f"at {hub}" if hub else "outside of the hub"
        raise ModelError(f"{name} is {where}; download its file and give {architecture}:FILE")
    return hub


def clip_folder_name(name: str) -> str:
    """The folder of a downloaded CLIP: its name without special characters."""
    return "clip-" + name.replace("hf-hub:", "").replace(":", "-").replace("/", "-")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, computed again only if its size or modification time changes."""
    status = path.stat()
    return _sha256(os.path.realpath(path), status.st_size, status.st_mtime_ns)


@lru_cache
def _sha256(path: str, size: int, modified: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
