"""Cutting text to the width of a terminal."""

from __future__ import annotations

from .text import width


def fit(line: str, columns: int, mark: str = "\N{HORIZONTAL ELLIPSIS}") -> str:
    """Return a printable line; one of more than ``columns`` columns is cut and marked."""
    if width(line) <= columns:
        return line
    left = columns - len(mark)
    if left < 0:
        return mark[:columns]
    for end, character in enumerate(line):
        left -= width(character)
        if left < 0:
            return line[:end] + mark
    return line
