# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""docs/defects.md agrees with the tests: the tests of a row exist, and one has its id."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Rows of the list: messages, pools, where it runs, what the guest reports of itself, the
#: host's network settings, diagnosis, attacks, hv-kvp with the library, and installation.
LAST = {"T": 24, "P": 34, "U": 7, "O": 31, "N": 9, "D": 10, "S": 7, "C": 11, "I": 22}
IDS = [f"{kind}{n}" for kind, last in LAST.items() for n in range(1, last + 1)]

ROW = re.compile(r"^\| ([TPOUSCIDN]\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ID = re.compile(r"\b[TPOUSCIDN]\d+\b")


def rows() -> dict[str, str]:
    """The tests of each row by its id, or the reason why there is none."""
    found = ROW.findall((ROOT / "docs" / "defects.md").read_text())
    assert [name for name, _, _ in found] == IDS
    return {name: tests for name, _, tests in found}


@cache
def docstrings(path: str) -> dict[str, str]:
    """The docstrings of the tests and checks in a file."""
    tree = ast.parse((ROOT / path).read_text())
    return {
        node.name: ast.get_docstring(node) or ""
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith(("test_", "check_"))
    }


@pytest.mark.parametrize("name", IDS)
def test_a_row_has_a_test_that_carries_its_id_or_a_reason(name: str) -> None:
    text = rows()[name]
    tests = TEST.findall(text)
    if not tests:
        assert len(text.split()) > 5, "neither a test nor a reason"
        return
    for path, function in tests:
        assert function in docstrings(path), f"{path} has no {function}"
    assert any(name in ID.findall(docstrings(path)[function]) for path, function in tests)


def test_an_id_in_a_test_is_one_of_the_list() -> None:
    used = {
        found
        for path in (ROOT / "tests").rglob("*.py")
        for docstring in docstrings(str(path.relative_to(ROOT))).values()
        for found in ID.findall(docstring)
    }
    assert used <= set(IDS)
