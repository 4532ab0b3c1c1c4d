# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Tables: columns that fit the terminal, or tab-separated lines in a pipe."""

from __future__ import annotations

import sys

from hv_kvp_daemon.wire.text import width

from . import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

_GAP: Final = "  "


def show(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    header: bool = True,
    full: bool = False,
) -> None:
    """Write rows of safe texts (`terminal.text`).

    On a terminal below a line with ``heads``, unless ``header`` is false, and cut to its
    width, unless ``full``.
    """
    if not terminal.is_terminal():
        for row in rows:
            print(*row, sep="\t")
        return
    listed = list(rows)
    if listed:
        space = sys.maxsize if full else terminal.columns()
        head, *body = lines([heads if header else [""] * len(heads), *listed], space)
        if header:
            print(terminal.paint(head, terminal.BOLD))
        for line in body:
            print(line)


def lines(rows: Sequence[Sequence[str]], space: int) -> list[str]:
    """Lay rows out as lines of at most ``space`` columns.

    The widest cells are cut first, all to the same width.
    """
    wanted = [max(map(width, column)) for column in zip(*rows, strict=True)]
    given = _share(wanted, space - len(_GAP) * (len(wanted) - 1))
    return [
        terminal.fit(
            _GAP.join(_cell(cell, room) for cell, room in zip(row, given, strict=True)),
            space,
        ).rstrip()
        for row in rows
    ]


def _cell(cell: str, room: int) -> str:
    cut = terminal.fit(cell, room)
    return cut + " " * (room - width(cut))


def _share(wanted: list[int], space: int) -> list[int]:
    """Divide a width among columns: the narrowest are served first, each at least 1."""
    given = [0] * len(wanted)
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    for served, column in enumerate(order):
        fair = space // (len(order) - served)
        given[column] = max(1, min(wanted[column], fair))
        space -= given[column]
    return given
