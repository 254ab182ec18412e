"""Mutation testing: which small faults in a module do its tests not notice?

``python -m benchmarks.reliability.mutants segzs/prompts.py tests/test_prompts.py --limit 50`` makes one fault after the
other, such as ``<`` instead of ``<=``, runs the tests in a forked process, and prints the faults that they passed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import ModuleType

SECONDS = 120
OPTIONS = ("-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=")
OPTIONS += ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # plugins were imported before
SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


def faults(tree: ast.Module) -> Iterator[tuple[ast.Module, str]]:
    """Copies of a module with one fault each, and what it is; messages and annotations stay."""
    for number, node in enumerate(_nodes(tree)):
        mutant = copy.deepcopy(tree)
        inside = list(_nodes(mutant))[number]
        before = ast.unparse(node)
        match inside:
            case ast.Compare(ops=[op]) if type(op) in SWAPS:
                inside.ops = [SWAPS[type(op)]()]
            case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in SWAPS:
                inside.op = SWAPS[type(op)]()
            case ast.Constant(value=bool(value)):
                inside.value = not value
            case ast.Constant(value=int(value) | float(value)):
                inside.value = value + 1
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inside.op, inside.operand = ast.Not(), ast.UnaryOp(ast.Not(), operand)
            case ast.IfExp(body=body, orelse=orelse):
                inside.body, inside.orelse = orelse, body
            case ast.Return(value=ast.expr()):
                inside.value = ast.Constant(None)
            case _:
                continue
        ast.fix_missing_locations(mutant)
        yield mutant, f"line {node.lineno}: {before[:60]} -> {ast.unparse(inside)[:60]}"


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below a node, but for texts, annotations, decorators and the arguments of errors."""
    if isinstance(node, ast.JoinedStr | ast.Raise):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns", "decorator_list"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _nodes(child)


class Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a module with a fault."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        return importlib.util.spec_from_loader(name, self, origin=self.path) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self.path
        exec(compile(self.tree, self.path, "exec"), module.__dict__)


def passes(name: str, path: str, tree: ast.Module, tests: list[str]) -> bool:
    """Whether the tests pass with a module; a hang counts as a failure."""
    process = os.fork()
    if not process:
        import pytest

        signal.alarm(SECONDS)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        sys.meta_path.insert(0, Loader(name, path, tree))
        status = 1
        try:
            status = int(pytest.main([*OPTIONS, *tests]))
        finally:
            os._exit(status)
    return os.waitpid(process, 0)[1] == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", help="its path, as segzs/prompts.py")
    parser.add_argument("tests", nargs="+", help="files of tests")
    parser.add_argument("--limit", type=int, default=50, help="faults, chosen at random")
    arguments = parser.parse_args()
    import open_clip  # noqa: F401  # once, for all forked processes
    import pytest  # noqa: F401
    import torch

    torch.set_num_threads(1)
    path = arguments.module
    name, tree = path.removesuffix(".py").replace("/", "."), ast.parse(Path(path).read_text("utf-8"))
    assert passes(name, path, tree, arguments.tests), "the tests fail without a fault"
    made = list(faults(tree))
    chosen = Random(0).sample(made, min(arguments.limit, len(made)))
    survivors = []
    for number, (mutant, text) in enumerate(chosen, start=1):
        if passes(name, path, mutant, arguments.tests):
            survivors.append(text)
            print(f"  {number}: not noticed, {text}", flush=True)
    killed = len(chosen) - len(survivors)
    print(f"{path}: {killed} of {len(chosen)} faults noticed ({killed / len(chosen):.0%}), of {len(made)} possible")
    return 0


if __name__ == "__main__":
    sys.exit(main())
