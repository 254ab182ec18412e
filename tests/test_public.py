"""What `import segzs` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import segzs

PUBLIC = [
    "AnnotationError",
    "CacheWarning",
    "EncodedImage",
    "FormatWarning",
    "GeneratorOptions",
    "Image",
    "ImageError",
    "Label",
    "MapWarning",
    "ModelError",
    "ModelMismatchError",
    "Name",
    "Naming",
    "OutputError",
    "Prompt",
    "PromptError",
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
    "load",
    "read_image",
    "save",
]


def test_the_public_names_are_these_and_all_can_be_had() -> None:
    assert sorted(segzs.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(segzs, name).__module__.startswith("segzs.")
        assert getattr(segzs, name).__name__ == name
        assert getattr(segzs, name).__doc__
    assert set(dir(segzs)) >= {*PUBLIC, "__version__"}


def test_star_import() -> None:
    names: dict[str, object] = {}
    exec("from segzs import *", names)
    assert {*names} - {"__builtins__"} == set(PUBLIC)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'segzs' has no attribute 'lode'"):
        segzs.lode  # noqa: B018


def test_every_error_is_a_segzs_error() -> None:
    for name in PUBLIC:
        if name.endswith("Error"):
            assert issubclass(getattr(segzs, name), segzs.SegzsError)
    assert issubclass(segzs.ImageError, ValueError)
    assert issubclass(segzs.WeightsError, segzs.ModelError)
    assert issubclass(segzs.ModelMismatchError, segzs.ModelError)
    assert not issubclass(segzs.UnfamiliarWarning, segzs.SegzsError)


CHEAP = """
import contextlib, sys
import segzs
from segzs.cli.main import main
heavy = {"torch", "torchvision", "open_clip", "segment_anything", "timm", "cv2", "huggingface_hub", "requests"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
for arguments in (["--help"], ["label", "--help"], ["--version"]):
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
