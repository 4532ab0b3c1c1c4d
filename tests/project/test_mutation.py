# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``make mutation``: the places that it changes, and the list of explained mutants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.soak.mutation import all_mutants, explained, mutants

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
def clear(size: int | None = 1) -> int | None:
    '''Clear 1 of 2.'''
    if size or not empty():
        report(f"{size + 1}")
    return size << 1
"""

CHANGES = {
    "1 -> 2",
    "size or not empty() -> not (size or not empty())",
    "size or not empty() -> size and (not empty())",
    "not empty() -> empty()",
    "report(f'{size + 1}') -> pass",
    "size << 1 -> None",
    "size << 1 -> size >> 1",
}


def test_statements_operators_and_numbers_are_changed_and_no_text_or_annotation(
    tmp_path: Path,
) -> None:
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    found = list(mutants(str(path)))
    assert {mutant.key.split(" | ")[-1] for mutant in found} == CHANGES
    for mutant in found:
        assert mutant.source.count(b"\n") == SOURCE.count("\n")
        compile(mutant.source, str(path), "exec")


def test_each_explained_mutant_exists() -> None:
    assert explained() <= {
        mutant.key for package in ("wire", "pools") for mutant in all_mutants(package)
    }
