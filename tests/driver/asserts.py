# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Imports a scenario so that its failing asserts show their values.

A plain ``assert a == b`` raises an error without a text, and pytest, which would add one,
is not in the VM.  So each ``assert`` of a scenario is compiled as if it had been written

    assert (x := a) == (y := b), explain("a == b", message, {"a": x, "b": y})
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.util
import os
import reprlib
import sys
import types
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from typing import Any

_PACKAGE = "tests.driver.scenarios"
_EXPLAIN = "explain_assert"

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 1000
_repr.maxlist = _repr.maxtuple = _repr.maxdict = _repr.maxset = _repr.maxlevel = 30


def explain(condition: str, message: object, values: dict[str, object]) -> str:
    """The text of the error: the assert's own message, its condition, and the values."""
    lines = [] if message is None else [str(message)]
    lines.append(condition)
    lines += [f"    {text} = {_repr.repr(value)}" for text, value in values.items()]
    return "\n".join(lines)


class _Rewriter(ast.NodeTransformer):
    """Gives each operand of an assert's condition a name, and the assert a message."""

    def __init__(self) -> None:
        self._count = 0

    def visit_Assert(self, node: ast.Assert) -> ast.Assert:
        condition = ast.unparse(node.test)
        shown: dict[str, str] = {}
        if isinstance(node.test, ast.Compare):
            # An operand that a chain has not reached has no value: leave it alone.
            node.test.left = self._name(node.test.left, shown)
            node.test.comparators[0] = self._name(node.test.comparators[0], shown)
        elif isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not):
            node.test.operand = self._name(node.test.operand, shown)
        else:
            node.test = self._name(node.test, shown)
        node.msg = ast.Call(
            ast.Name(_EXPLAIN, ast.Load()),
            [
                ast.Constant(condition),
                node.msg or ast.Constant(None),
                ast.Dict(
                    [ast.Constant(text) for text in shown],
                    [ast.Name(name, ast.Load()) for name in shown.values()],
                ),
            ],
            [],
        )
        return node

    def _name(self, operand: ast.expr, shown: dict[str, str]) -> ast.expr:
        if isinstance(operand, ast.Constant):
            return operand
        self._count += 1
        name = f"_operand_{self._count}"
        shown[ast.unparse(operand)] = name
        return ast.NamedExpr(ast.Name(name, ast.Store()), operand)


class Loader(SourceFileLoader):
    """Loads a module with rewritten asserts."""

    # Rewritten code must not be taken from, or left for, another import of the file.
    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        tree = _Rewriter().visit(ast.parse(self.get_data(path), path))
        code: Any = compile(ast.fix_missing_locations(tree), path, "exec")
        assert isinstance(code, types.CodeType)
        return code

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module)[_EXPLAIN] = explain
        super().exec_module(module)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: object = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package != _PACKAGE or path is None:
            return None
        file = os.path.join(next(iter(path)), name + ".py")
        return importlib.util.spec_from_file_location(
            fullname, file, loader=Loader(fullname, file)
        )


def install() -> None:
    """Let the imports of scenarios from now on give asserts that show their values."""
    sys.meta_path.insert(0, _Finder())
