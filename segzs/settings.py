"""Environment variables: SEGZS_MODEL, SEGZS_CACHE, SEGZS_OFFLINE."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).parent


def default_model() -> str:
    """The preset that `load` takes by default: SEGZS_MODEL, or "tiny"."""
    return os.environ.get("SEGZS_MODEL", "").strip() or "tiny"


def is_offline() -> bool:
    """Whether SEGZS_OFFLINE forbids downloads."""
    return os.environ.get("SEGZS_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def cache_folder() -> Path:
    """The folder of downloads and image embeddings: SEGZS_CACHE, or ``segzs`` in the user's cache folder."""
    if chosen := os.environ.get("SEGZS_CACHE", "").strip():
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "").strip()
    return (Path(base) if base else Path.home() / ".cache") / "segzs"


def embeddings_folder() -> Path:
    """The folder of the embedding cache."""
    return cache_folder() / "embeddings"


def embedded_folder() -> Path:
    """The folder of the embedded models: in the installed package, or ``checkpoints/`` of a working copy."""
    installed = PACKAGE / "checkpoints"
    return installed if (installed / "tiny_sam.safetensors").is_file() else PACKAGE.parent / "checkpoints"


def search_folders() -> list[Path]:
    """The folders where checkpoints are searched: the embedded one, ``checkpoints/`` here, the cache."""
    return list(dict.fromkeys([embedded_folder(), Path("checkpoints"), cache_folder()]))
