# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Cutting text to the width of a terminal."""

from __future__ import annotations

from .text import width


def fit(line: str, columns: int, mark: str = "\N{HORIZONTAL ELLIPSIS}") -> str:
    """Return a printable line; one of more than ``columns`` columns is cut and marked."""
    if width(line) <= columns:
        return line
    mark = mark[:columns]
    end, left = 0, columns - len(mark)
    while width(line[end]) <= left:
        left -= width(line[end])
        end += 1
    return line[:end] + mark
