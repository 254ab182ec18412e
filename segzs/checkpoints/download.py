"""Download one file: progress, resume after a break, hash check; the file appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
from filelock import FileLock
from tqdm import tqdm

from segzs.errors import ModelError, WeightsError

CHUNK = 1 << 20


def download(url: str, target: Path, size: int, sha256: str) -> Path:
    """Fetch ``url`` into ``target``; a part left by an earlier, broken try is continued.

    Raises:
        ModelError: the connection failed; run it again to resume.
        WeightsError: what arrived has another hash; it is deleted.
    """
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target):
            if not target.is_file():
                _complete(url, part, target, size, sha256)
        return target
    except OSError as error:  # requests' errors are OSErrors too
        raise ModelError(f"{url} could not be downloaded: {error}{_kept(part)}") from error


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Two processes must not write into one part; who waited finds the file, or goes on with the part."""
    lock = Path(f"{target}.lock")
    try:
        with FileLock(lock):
            yield
    finally:
        with suppress(OSError):
            lock.unlink()


def _complete(url: str, part: Path, target: Path, size: int, sha256: str) -> None:
    _continue(url, part, size)
    if (have := part.stat().st_size) < size:
        raise ModelError(f"{url} broke off after {have:,} of {size:,} bytes{_kept(part)}")
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        part.unlink()
        raise WeightsError(
            f"{url} delivered a file with SHA-256 {digest[:16]}... instead of {sha256[:16]}...; it was deleted. "
            "Try again, or fetch the file by another way"
        )
    os.replace(part, target)


def _kept(part: Path) -> str:
    return f". What arrived is kept in {part}; run the same command to go on" if part.is_file() else ""


def _continue(url: str, part: Path, size: int) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have == size:
        return
    headers = {"Accept-Encoding": "identity"}  # a range of a compressed reply is no range of the file
    if 0 < have < size:
        headers["Range"] = f"bytes={have}-"
    with requests.get(url, headers=headers, stream=True, timeout=30) as reply:
        reply.raise_for_status()
        resumed = reply.status_code == requests.codes.partial_content
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(total=size, initial=have if resumed else 0, unit="B", unit_scale=True, desc=part.stem) as bar,
        ):
            for chunk in reply.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
