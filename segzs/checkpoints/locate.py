"""Checkpoints on this machine: find them, verify them, download them when asked."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from segzs.checkpoints.registry import CLIPS, PRESETS, SAMS, ClipCheckpoint, SamCheckpoint
from segzs.errors import ModelError, UnknownModelError, WeightsError
from segzs.settings import cache_folder, embedded_folder, is_offline, search_folders

CLIP_CONFIG = "open_clip_config.json"
CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
CLIP_FILES = (CLIP_CONFIG, "tokenizer*", "special_tokens_map.json", "vocab*", "merges.txt")
LOCAL = "local:"
"""Before the names of the user's own folders and files, which may be called like a model of ours."""
EMBEDDED_CLIP = ("tiny_clip.json", "tiny_clip.safetensors")


@dataclass(frozen=True)
class SamFile:
    """A SAM's row, where its file is, and the SHA-256 that the file has."""

    spec: SamCheckpoint
    path: Path
    digest: str


@dataclass(frozen=True)
class ClipFiles:
    """A CLIP's row, its open_clip configuration and where its weights are."""

    spec: ClipCheckpoint
    config: dict[str, Any]
    weights: Path
    folder: Path


def locate_sam(spec: str | os.PathLike[str]) -> SamFile:
    """Find a SAM by its name, or by ``ARCHITECTURE:FILE`` for weights of your own.

    Raises:
        ModelError: the name is unknown, or its file is not here; says what to run.
        WeightsError: the file is not the one that the name stands for.
    """
    spec = os.fspath(spec)
    if ":" in spec:
        architecture, _, file = spec.partition(":")
        known = sorted({row.architecture for row in SAMS.values()})
        if architecture not in known:
            raise UnknownModelError(f"{spec!r} names no architecture; ARCHITECTURE:FILE with one of {', '.join(known)}")
        path = Path(file).expanduser()
        if not path.is_file():
            raise ModelError(f"{path}: no such file")
        like = next(row for row in SAMS.values() if row.architecture == architecture)
        like = replace(like, name=f"{architecture}:{path.name}", sha256="", url="")
        return SamFile(like, path, file_sha256(path))
    if spec not in SAMS:
        raise UnknownModelError(f"there is no SAM {spec!r}; there are {', '.join(SAMS)}, or give ARCHITECTURE:FILE")
    row = SAMS[spec]
    found = find_file(row.file)
    if found is None:
        raise ModelError(missing(f"SAM {row.name} ({row.file}, {row.bytes / 1e6:,.0f} MB)", row.name))
    return SamFile(row, found, verify(row, found))


def verify(row: SamCheckpoint | ClipCheckpoint, path: Path) -> str:
    """The SHA-256 of a checkpoint's file.

    Raises:
        WeightsError: it is not the one that the row states.
    """
    digest = file_sha256(path)
    if row.sha256 and digest != row.sha256:
        cure = "install segzs again" if row.name == "tiny" else f"delete it and run: segzs fetch {row.name}"
        raise WeightsError(
            f"{path} has SHA-256 {digest[:16]}..., but {row.name} has {row.sha256[:16]}...: the file is damaged or "
            f"another one; {cure}"
        )
    return digest


def locate_clip(spec: str | os.PathLike[str]) -> ClipFiles:
    """Find a CLIP: a name of the registry, ``ARCHITECTURE:TAG``, ``hf-hub:ORG/NAME``, or a local folder or file.

    A folder holds open_clip's ``open_clip_config.json`` and the weights beside it, and the tokenizer where the
    model has its own; a file is weights with a configuration of the same stem and ``.json`` beside it, or
    ``ARCHITECTURE:FILE`` for weights of a built-in architecture with open_clip's default preprocessing. Weights do not
    tell their activation: for those with QuickGELU, OpenAI's among them, the architecture is the one that open_clip
    calls so, as in ``ViT-B-32-quickgelu:FILE``.

    Raises:
        ModelError: it is unknown, or not here; says what to run.
        WeightsError: there is a configuration without weights, or one that cannot be read.
    """
    spec = os.fspath(spec)
    if spec == "tiny":
        folder = embedded_folder()
        config, weights = (folder / name for name in EMBEDDED_CLIP)
        if not (config.is_file() and weights.is_file()):
            raise ModelError(f"the embedded CLIP is missing from {folder}: install segzs again")
        verify(CLIPS["tiny"], weights)
        return ClipFiles(CLIPS["tiny"], read_config(config), weights, folder)
    local = Path(spec).expanduser()
    own = ClipCheckpoint(f"{LOCAL}{local.resolve().name}")
    if local.is_dir():
        return _clip_folder(own, local)
    if local.is_file():
        config = local.with_suffix(".json")
        if not config.is_file():
            raise WeightsError(f"{local} needs its open_clip configuration beside it, as {config.name}")
        return ClipFiles(own, read_config(config), local, local.parent)
    architecture, _, file = spec.partition(":")
    if file and Path(file).expanduser().is_file():
        path = Path(file).expanduser()
        own = ClipCheckpoint(f"{architecture}:{path.name}")
        return ClipFiles(own, builtin_config(architecture, None), path, path.parent)
    row = CLIPS.get(spec, ClipCheckpoint(spec))
    for folder in search_folders():
        if (folder / clip_folder_name(spec) / CLIP_CONFIG).is_file():
            return _clip_folder(row, folder / clip_folder_name(spec))
    hub_of(spec)
    raise ModelError(missing(f"CLIP {spec}", spec))


def _clip_folder(row: ClipCheckpoint, folder: Path) -> ClipFiles:
    config = folder / CLIP_CONFIG
    if not config.is_file():
        raise WeightsError(f"{folder} has no {CLIP_CONFIG}; it is not a CLIP that open_clip saved")
    for name in CLIP_WEIGHTS:
        if (folder / name).is_file():
            return ClipFiles(row, read_config(config), folder / name, folder)
    raise WeightsError(
        f"{folder} has a configuration but none of {', '.join(CLIP_WEIGHTS)}: a download that broke off? {cure(row)}"
    )


def cure(row: ClipCheckpoint) -> str:
    """What brings files of a CLIP that are not here."""
    return "copy it there" if row.name.startswith(LOCAL) else f"run: segzs fetch {row.name}"


def read_config(path: Path) -> dict[str, Any]:
    """An open_clip configuration: ``model_cfg`` and ``preprocess_cfg``."""
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} is not a configuration: {error}") from error
    if not isinstance(config, dict) or "model_cfg" not in config:
        raise WeightsError(f"{path} is not an open_clip configuration: it has no model_cfg")
    return config


def builtin_config(architecture: str, tag: str | None) -> dict[str, Any]:
    """The configuration that open_clip itself has for an architecture and a pretrained tag.

    Without a tag, the preprocessing is that on which all tags of the architecture agree.

    Raises:
        ModelError: open_clip has no such architecture, or its tags disagree.
    """
    import open_clip

    model = open_clip.get_model_config(architecture)
    if model is None:
        raise UnknownModelError(
            f"open_clip has no architecture {architecture!r}; see open_clip.list_models() for those that it has"
        )
    tags = [tag] if tag else open_clip.list_pretrained_tags_by_model(architecture)
    known = [open_clip.get_pretrained_cfg(architecture, name) or {} for name in tags]
    wanted = ("mean", "std", "interpolation", "resize_mode", "fill_color")
    ways = [{key: row[key] for key in wanted if key in row} for row in known] or [{}]
    if any(way != ways[0] for way in ways):
        raise ModelError(
            f"weights of {architecture} are preprocessed in different ways; put an open_clip configuration beside the "
            "file (same stem, .json) and give the file"
        )
    if tag and known[0].get("quick_gelu"):
        model["quick_gelu"] = True
    return {"model_cfg": model, "preprocess_cfg": ways[0]}


def hub_of(spec: str) -> str:
    """The hub repository of a CLIP.

    Raises:
        ModelError: it is not one that open_clip knows.
    """
    if spec in CLIPS and CLIPS[spec].hub:
        return CLIPS[spec].hub
    if spec.startswith("hf-hub:"):
        return spec.removeprefix("hf-hub:")
    import open_clip

    architecture, _, tag = spec.partition(":")
    known = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in known:
        hint = f"its tags are {', '.join(known)}" if known else "give ARCHITECTURE:TAG, hf-hub:ORG/NAME, or a folder"
        raise UnknownModelError(f"there is no CLIP {spec!r}; {hint}")
    hub = open_clip.get_pretrained_cfg(architecture, tag).get("hf_hub", "").strip("/")
    if hub.count("/") != 1:  # none, or the path of a lone file in a repository that open_clip did not save
        place = f"at {hub}" if hub else "on no hub"
        raise ModelError(f"open_clip has {spec} {place}; download its file and give {architecture}:FILE")
    return hub


def clip_folder_name(spec: str) -> str:
    """The folder of a fetched CLIP: its name without the characters that file systems dislike."""
    return "clip-" + spec.replace("hf-hub:", "").replace(":", "-").replace("/", "-")


def is_clip_here(spec: str) -> bool:
    """Whether a CLIP can be loaded without a download."""
    try:
        locate_clip(spec)
    except ModelError:
        return False
    return True


def intact_sam(spec: str) -> Path:
    """Where a SAM's file is, once its hash has shown that it is the right one.

    Raises:
        ModelError: it is not here.
        WeightsError: it is damaged, or another one.
    """
    return locate_sam(spec).path


def intact_clip(spec: str) -> Path:
    """Where a CLIP's weights are, once their file has shown itself to be whole, and what the hub said it was.

    Raises:
        ModelError: it is not here.
        WeightsError: it is damaged.
    """
    files = locate_clip(spec)
    _check_whole(files.weights, spec)
    for file in _changed_since_fetched(files.folder):
        raise WeightsError(f"{file} is not what the hub stated; delete it and run: segzs fetch {spec}")
    return files.weights


def _check_whole(path: Path, spec: str) -> None:
    """Raise `WeightsError` for a safetensors file whose header and length do not agree."""
    if path.suffix != ".safetensors":
        return
    try:
        with safe_open(path, "np"):
            pass
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged: {error}; delete it and run: segzs fetch {spec}") from error


def find_file(name: str) -> Path | None:
    """The first of the search folders' files of that name."""
    return next((folder / name for folder in search_folders() if (folder / name).is_file()), None)


def missing(what: str, name: str) -> str:
    """What to tell the user about a model that is not here."""
    return f"{what} is not on this machine, and nothing is downloaded unasked; run: segzs fetch {name}"


def fetch(name: str, folder: Path | None = None) -> list[Path]:
    """Download a preset, a SAM alone (``sam:NAME``) or a CLIP: with a progress bar, resuming, checked by hash.

    Returns:
        The files or folders that are now here.

    Raises:
        ModelError: the name is unknown, downloads are forbidden, or the download failed.
        WeightsError: what arrived is not what it should be.
    """
    folder = folder or cache_folder()
    if name in PRESETS:
        row = PRESETS[name]
        return [_fetch_sam(SAMS[row.sam], folder), _fetch_clip(row.clip, folder)]
    if name.startswith("sam:"):
        if name[4:] not in SAMS:
            raise UnknownModelError(f"there is no SAM {name[4:]!r} to fetch; there are {', '.join(SAMS)}")
        return [_fetch_sam(SAMS[name[4:]], folder)]
    if name in CLIPS or ":" in name:
        return [_fetch_clip(name, folder)]
    raise UnknownModelError(
        f"there is no model {name!r}; there are {', '.join(PRESETS)}, their SAMs alone as sam:NAME, and CLIPs as "
        "ARCHITECTURE:TAG or hf-hub:ORG/NAME"
    )


def _fetch_sam(row: SamCheckpoint, folder: Path) -> Path:
    for place in dict.fromkeys([folder, *search_folders()]):
        if (place / row.file).is_file():
            verify(row, place / row.file)
            return place / row.file
    if not row.url:
        raise ModelError(f"{row.file} is part of segzs, but missing: install segzs again")
    _refuse_offline(row.name)
    from segzs.checkpoints.download import download

    return download(row.url, folder / row.file, row.bytes, row.sha256)


def _fetch_clip(spec: str, folder: Path) -> Path:
    if spec == "tiny":
        return locate_clip(spec).folder
    target = folder / clip_folder_name(spec)
    row = CLIPS.get(spec, ClipCheckpoint(spec))
    for file in _changed_since_fetched(target):
        file.unlink()  # to fetch it again
    for place in dict.fromkeys([folder, *search_folders()]):
        with suppress(WeightsError):  # a download that broke off, to go on with
            return _clip_folder(row, place / clip_folder_name(spec)).folder
    hub = hub_of(spec)
    _refuse_offline(spec)
    from huggingface_hub import snapshot_download

    try:
        for weights in CLIP_WEIGHTS:  # the first that the repository has; most hold the same weights twice
            snapshot_download(hub, revision=row.revision, local_dir=target, allow_patterns=[*CLIP_FILES, weights])
            if (target / weights).is_file():
                break
    except Exception as error:  # the hub's client raises errors of many libraries
        raise ModelError(f"{spec} could not be fetched from the hub ({hub}): {error}") from error
    for file in _changed_since_fetched(target):
        file.unlink()
        raise WeightsError(f"{file} is not what the hub stated and was deleted; run the same command again")
    if not (target / CLIP_CONFIG).is_file() and not spec.startswith("hf-hub:"):
        architecture, _, tag = spec.partition(":")
        (target / CLIP_CONFIG).write_text(json.dumps(builtin_config(architecture, tag)), "utf-8")
    return _clip_folder(row, target).folder


def _changed_since_fetched(folder: Path) -> Iterator[Path]:
    """The large files of a fetched CLIP that have another SHA-256 than the hub stated for them."""
    for statement in (folder / ".cache" / "huggingface" / "download").glob("*.metadata"):
        file, lines = folder / statement.stem, statement.read_text().split()
        if len(lines) > 1 and len(lines[1]) == 64 and file.is_file() and file_sha256(file) != lines[1]:
            yield file


def _refuse_offline(name: str) -> None:
    if is_offline():
        raise ModelError(f"{name} is not on this machine and SEGZS_OFFLINE forbids downloads; unset it to fetch")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file; read again only when its size or time of change differs."""
    status = path.stat()
    return _sha256(os.path.realpath(path), status.st_size, status.st_mtime_ns)


@lru_cache
def _sha256(path: str, size: int, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
