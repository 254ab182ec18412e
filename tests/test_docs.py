"""Documentation: Python blocks run, commands parse, links lead somewhere, and the pages agree with the package."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import yaml

import segzs
from segzs.cli.parser import build_parser
from segzs.formats import FORMATS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "checkpoints/README.md", "examples/README.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

REASON = r"(?:<!-- not executed: (?P<reason>.+) -->\n)?"
FENCE = re.compile(rf"^{REASON}```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
INLINE = re.compile(r"`segzs ([a-z]+)[^`]*`")
MODULE = re.compile(r"python -m ([\w.]+)")
LINK = re.compile(r"\]\((?!\w+:)(?P<file>[^)#\s]*)(?:#[^)\s]*)?\)")
EXTRA = re.compile(r"'(?:\.|segzs)\[([\w,]+)\]'")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; ``reason`` says why a block is not executed."""

    language: str
    line: int
    text: str
    reason: str


def read_blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        yield Block(match["language"], line, match["text"], match["reason"] or "")


def read_commands(page: Path) -> Iterator[list[str]]:
    """The words of every ``segzs`` command in the blocks of shell commands of a page."""
    texts = [block.text for block in read_blocks(page) if block.language == "sh"]
    for line in "".join(texts).replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("();<>|&"):
                if words[:1] == ["segzs"]:
                    yield words[1:]
                words = []
            else:
                words.append(word)


def command_names() -> list[str]:
    (choices,) = [action.choices for action in build_parser()._actions if action.dest == "command"]
    return list(choices or ())


def by_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def with_python() -> Iterator[Any]:
    """The pages with Python blocks; all but the README take more than a few seconds."""
    for page in PAGES:
        if any(block.language == "python" for block in read_blocks(page)):
            yield pytest.param(page, marks=() if page.name == "README.md" else pytest.mark.slow)


@pytest.mark.filterwarnings("ignore::segzs.SegzsWarning")  # some pages write formats that cannot store everything
@pytest.mark.parametrize("page", list(with_python()), ids=by_name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PIL.Image.Image, "show", lambda image: None)
    names: dict[str, object] = {"__name__": "documentation"}
    for block in read_blocks(page):
        if block.language == "python" and not block.reason:
            source = "\n" * (block.line - 1) + block.text  # so that a traceback shows the line of the page
            exec(compile(source, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_commands_parse(page: Path) -> None:
    for words in read_commands(page):
        status: object = 0
        try:
            build_parser().parse_args(words)
        except SystemExit as stop:  # --help and --version exit with 0
            status = stop.code
        assert not status, f"segzs {shlex.join(words)} is refused"


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_named_commands_and_modules_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    assert set(INLINE.findall(text)) <= set(command_names())
    for module in set(MODULE.findall(text)) - {"build", "venv"}:
        assert importlib.util.find_spec(module), f"there is no module {module}"


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_links_lead_to_files(page: Path) -> None:
    for link in LINK.finditer(FENCE.sub("", page.read_text("utf-8"))):
        assert (page.parent / link["file"]).exists(), f"{by_name(page)} links to {link['file']}"


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_extras_exist(page: Path) -> None:
    for extras in EXTRA.findall(page.read_text("utf-8")):
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_architecture_has_every_module() -> None:
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    for path in (ROOT / "segzs").iterdir():
        if not path.name.startswith("_") and (path.is_dir() or path.suffix == ".py"):
            assert f"`{path.name}{'/' if path.is_dir() else ''}`" in page


def test_layers_are_those_of_the_import_linter() -> None:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (contract,) = configuration["tool"]["importlinter"]["contracts"]
    layers = [re.split(r"[ |]+", layer) for layer in contract["layers"] if not layer.startswith("_")]
    (lines,) = [b.text.splitlines() for b in read_blocks(ROOT / "docs/architecture.md") if b.text.startswith("cli\n")]
    assert [line.split() for line in lines] == layers


def test_every_format_is_in_the_table() -> None:
    rows = re.findall(r"^\| `(\w[\w-]*)` \|", (ROOT / "docs/formats.md").read_text("utf-8"), re.M)
    assert rows == list(FORMATS)


def test_every_command_is_in_the_table() -> None:
    rows = re.findall(r"^\| `segzs (\w+)", (ROOT / "docs/command-line.md").read_text("utf-8"), re.M)
    assert sorted(rows) == sorted(command_names())


def test_every_public_name_is_in_the_reference() -> None:
    reference = (ROOT / "docs/api.md").read_text("utf-8")
    for name in segzs.__all__:
        home = getattr(segzs, name).__module__
        assert re.search(rf"^::: ({re.escape(home)}|[\w.]+)\.{name}$|^::: {re.escape(home)}$", reference, re.M), name


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == segzs.__version__
    assert f"## [{segzs.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
