"""The licence, version and last release of each package that segzs installs, as its metadata and PyPI have them.

``python -m benchmarks.reliability.dependencies`` asks PyPI; ``--offline`` leaves out the last release.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata

import requests

from segzs.settings import PACKAGE

EXTRAS = ("notebook", "siglip", "parquet", "ray", "supervision", "search", "serve")


def packages() -> list[str]:
    """The packages of `pyproject.toml`, and of the extras for users."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    extras = (requirement for extra in EXTRAS for requirement in project["optional-dependencies"][extra])
    names = (re.split(r"[\[><=~ ]", requirement)[0] for requirement in (*project["dependencies"], *extras))
    return list(dict.fromkeys(name for name in names if name != "segzs"))


def installed(name: str) -> tuple[str, str]:
    """The licence and the version of an installed package."""
    try:
        fields = metadata(name)
    except PackageNotFoundError:
        return "-", "not installed"
    classifiers = [text.rpartition(" :: ")[2] for text in fields.get_all("Classifier", []) if "License ::" in text]
    licence = fields.get("License-Expression") or fields.get("License") or ", ".join(classifiers) or "not said"
    return " ".join(licence.split())[:60], fields["Version"]


def released(name: str) -> str:
    """The last version on PyPI, and the day it was uploaded."""
    reply = requests.get(f"https://pypi.org/pypi/{name}/json", timeout=30)
    reply.raise_for_status()
    content = reply.json()
    return f"{content['info']['version']} {max(file['upload_time'] for file in content['urls'])[:10]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--offline", action="store_true", help="do not ask PyPI for the last release")
    offline = parser.parse_args().offline
    for name in packages():
        licence, version = installed(name)
        print(f"{name}: {licence}; {version}{'' if offline else f'; {released(name)}'}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
