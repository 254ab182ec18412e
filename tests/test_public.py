"""The public names of segzs, and what importing it loads."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import segzs

PUBLIC = [
    "RLE",
    "AnnotationError",
    "CacheWarning",
    "EncodedImage",
    "FormatWarning",
    "GeneratorOptions",
    "Image",
    "ImageError",
    "ImageTooLargeError",
    "ImageWarning",
    "Label",
    "MapWarning",
    "ModelError",
    "ModelMismatchError",
    "Name",
    "Naming",
    "OutOfMemoryError",
    "OutputError",
    "Prompt",
    "PromptError",
    "PromptWarning",
    "RequestError",
    "Segment",
    "Segmenter",
    "Segments",
    "SegzsError",
    "SegzsWarning",
    "SemanticMap",
    "UnfamiliarWarning",
    "UnknownModelError",
    "UsageError",
    "Vocabulary",
    "VocabularyError",
    "WeightsError",
    "annotate",
    "load",
    "read_image",
    "save",
]


def test_all_public_names_can_be_imported() -> None:
    assert sorted(segzs.__all__) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(segzs, name).__module__.startswith("segzs.")
        assert getattr(segzs, name).__name__ == name
        assert getattr(segzs, name).__doc__
    assert set(dir(segzs)) >= {*PUBLIC, "__version__"}


def test_a_star_import_gives_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from segzs import *", names)
    assert {*names} - {"__builtins__"} == set(PUBLIC)


def test_an_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'segzs' has no attribute 'lode'"):
        segzs.lode  # noqa: B018


def subclasses(base: type) -> set[type]:
    """A class and the classes of segzs that inherit from it, after all modules are imported."""
    for module in pkgutil.walk_packages(segzs.__path__, "segzs."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return {base}.union(*(subclasses(each) for each in base.__subclasses__() if each.__module__.startswith("segzs")))


def test_every_error_and_warning_is_public_and_has_the_base_class() -> None:
    defined = {*subclasses(segzs.SegzsError), *subclasses(segzs.SegzsWarning)}
    assert defined <= {getattr(segzs, name) for name in PUBLIC}
    assert {name for name in PUBLIC if name.endswith(("Error", "Warning"))} == {each.__name__ for each in defined}
    assert issubclass(segzs.ImageError, ValueError)
    assert issubclass(segzs.WeightsError, segzs.ModelError)
    assert issubclass(segzs.ModelMismatchError, segzs.ModelError)
    assert issubclass(segzs.UnknownModelError, segzs.UsageError)
    assert not issubclass(segzs.UnfamiliarWarning, segzs.SegzsError)


CHEAP = """
import contextlib, sys
import segzs
from segzs.cli.main import main
heavy = {"torch", "torchvision", "open_clip", "segment_anything", "timm", "cv2", "huggingface_hub", "requests"}
heavy |= {"fastapi", "starlette", "pydantic", "uvicorn"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
for arguments in (["--help"], ["label", "--help"], ["serve", "--help"], ["--version"]):
    with contextlib.suppress(SystemExit):
        main(arguments)
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert main(["models"]) == 0
assert main(["cache"]) == 0
heavy -= {"requests", "huggingface_hub"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_import_help_models_and_cache_do_not_load_torch() -> None:
    root = Path(segzs.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", CHEAP], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert f"segzs {segzs.__version__}" in done.stdout
