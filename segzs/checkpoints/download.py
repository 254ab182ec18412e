"""Download checkpoints: resumable, verified, and complete or absent."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
from filelock import FileLock
from tqdm import tqdm

from segzs.checkpoints import locate
from segzs.checkpoints.registry import CLIPS, PRESETS, SAMS, ClipCheckpoint, SamCheckpoint
from segzs.errors import ModelError, UnknownModelError, WeightsError
from segzs.files import atomic_write
from segzs.settings import cache_folder, is_offline, search_folders

CHUNK = 1 << 20
TIMEOUT = 30
"""Seconds to wait for more bytes."""
CLIP_FILES = (locate.CLIP_CONFIG, "tokenizer*", "special_tokens_map.json", "vocab*", "merges.txt")


def fetch(name: str, folder: Path | None = None) -> list[Path]:
    """Download a preset, a SAM or a CLIP, unless it is on this machine; returns the SAM's file and the CLIP's folder.

    Args:
        name: a preset, ``sam:NAME`` for a SAM, or a CLIP as ``ARCHITECTURE:TAG`` or ``hf-hub:ORG/NAME``.
        folder: where to write; None writes to the cache folder.

    Raises:
        ModelError: the name is unknown, SEGZS_OFFLINE is set, or the download failed; run it again to resume.
        WeightsError: a file has another SHA-256 than it should have.
    """
    folder = folder or cache_folder()
    if name in PRESETS:
        preset = PRESETS[name]
        return [_fetch_sam(SAMS[preset.sam], folder), _fetch_clip(preset.clip, folder)]
    if name.startswith("sam:"):
        sam = name.removeprefix("sam:")
        if sam not in SAMS:
            raise UnknownModelError(f"unknown SAM {sam!r}; choose from {', '.join(SAMS)}")
        return [_fetch_sam(SAMS[sam], folder)]
    if name in CLIPS or ":" in name:
        return [_fetch_clip(name, folder)]
    raise UnknownModelError(
        f"unknown model {name!r}; choose from {', '.join(PRESETS)}, or give sam:NAME, ARCHITECTURE:TAG or "
        "hf-hub:ORG/NAME"
    )


def _fetch_sam(row: SamCheckpoint, folder: Path) -> Path:
    for parent in (folder, *search_folders()):
        if (parent / row.file).is_file():
            locate.verify(row, parent / row.file)
            return parent / row.file
    if not row.url:
        raise ModelError(f"{row.file} is part of segzs, but missing; install segzs again")
    _check_online(row.name)
    return download(row.url, folder / row.file, row.bytes, row.sha256)


def _fetch_clip(name: str, folder: Path) -> Path:
    if name == "tiny":
        return locate.locate_clip(name).folder
    target, row = folder / locate.clip_folder_name(name), CLIPS.get(name, ClipCheckpoint(name))
    for file in locate.changed_files(target):
        file.unlink()  # downloaded again below
    for parent in (folder, *search_folders()):
        with suppress(WeightsError):  # incomplete, as after a broken download
            return locate.clip_in(parent / locate.clip_folder_name(name), row).folder
    hub = locate.hub_of(name)
    _check_online(name)
    from huggingface_hub import snapshot_download

    try:
        for weights in locate.CLIP_WEIGHTS:  # the first that exists; most repositories have both formats
            snapshot_download(hub, revision=row.revision, local_dir=target, allow_patterns=[*CLIP_FILES, weights])
            if (target / weights).is_file():
                break
    except Exception as error:  # the hub's client raises errors of many libraries
        raise ModelError(f"cannot download {name} from the hub ({hub}): {error}") from error
    for file in locate.changed_files(target):
        file.unlink()
        raise WeightsError(f"{file} was not what the hub published, and was deleted; run the same command again")
    if not (target / locate.CLIP_CONFIG).is_file() and not name.startswith("hf-hub:"):
        architecture, _, tag = name.partition(":")
        with atomic_write(target / locate.CLIP_CONFIG) as config:
            json.dump(locate.builtin_config(architecture, tag), config)
    return locate.clip_in(target, row).folder


def _check_online(name: str) -> None:
    if is_offline():
        raise ModelError(f"{name} is not on this machine, and SEGZS_OFFLINE forbids downloads; unset it to download")


def download(url: str, target: Path, size: int, sha256: str) -> Path:
    """Download a file of so many bytes; an incomplete file of an earlier try is continued.

    Raises `ModelError` if the connection failed. A file with another SHA-256 is deleted; raises `WeightsError`.
    """
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target):
            if not target.is_file():
                _complete(url, part, target, size, sha256)
        return target
    except OSError as error:  # also requests' errors
        raise ModelError(f"cannot download {url}: {error}{_resume_hint(part)}") from error


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """One process at a time writes the incomplete file."""
    lock = Path(f"{target}.lock")
    try:
        with FileLock(lock):
            yield
    finally:
        with suppress(OSError):
            lock.unlink()


def _complete(url: str, part: Path, target: Path, size: int, sha256: str) -> None:
    _append(url, part, size)
    if (received := part.stat().st_size) < size:
        raise ModelError(f"{url} broke off after {received:,} of {size:,} bytes{_resume_hint(part)}")
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        part.unlink()
        raise WeightsError(
            f"{url} has SHA-256 {digest[:16]}... instead of {sha256[:16]}..., and was deleted; run the same command "
            "again, or download the file in another way"
        )
    os.replace(part, target)


def _resume_hint(part: Path) -> str:
    return f". The incomplete file is kept in {part}; run the same command to resume" if part.is_file() else ""


def _append(url: str, part: Path, size: int) -> None:
    received = part.stat().st_size if part.exists() else 0
    if received == size:
        return
    headers = {"Accept-Encoding": "identity"}  # ranges count compressed bytes otherwise
    if 0 < received < size:
        headers["Range"] = f"bytes={received}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as reply:
        if "Range" in headers and reply.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # the incomplete file is of another one
            return _append(url, part, size)
        reply.raise_for_status()
        kept = received if reply.status_code == requests.codes.partial_content else 0
        length = reply.headers.get("Content-Length", "")
        if length.isdecimal() and kept + int(length) != size:
            raise ModelError(
                f"{url} offers a file of {kept + int(length):,} bytes instead of {size:,}; try again later"
            )
        with (
            part.open("ab" if kept else "wb") as file,
            tqdm(total=size, initial=kept, unit="B", unit_scale=True, desc=part.stem) as bar,
        ):
            for chunk in reply.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
                if file.tell() > size:  # the digest will differ; a body without an end would fill the disk
                    break
