# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Figures of a soak: how many trials of each kind there were, and how many broke a promise."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

_points: Counter[str] = Counter()
_broken: Counter[str] = Counter()
_figures: list[str] = []


@pytest.fixture
def count() -> Callable[..., None]:
    """Count a trial, and whether it broke a promise."""

    def add(kind: str, *, points: int, broken: int) -> None:
        _points[kind] += points
        _broken[kind] += broken

    return add


@pytest.fixture
def tell() -> Callable[[str], None]:
    """Add a line to the figures that are shown at the end."""
    return _figures.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [f"{kind}: {_points[kind]}, broken promises: {_broken[kind]}" for kind in _points]
    for line in (*lines, *_figures):
        terminalreporter.write_line(line)
