# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Shell patterns, as in glob(7), without the ``fnmatch`` module, which imports ``re``."""

from __future__ import annotations


def matches(pattern: str, text: str) -> bool:
    """Return whether a whole text fits a pattern of ``*``, ``?``, ``[a-z]`` and ``[!a-z]``.

    A ``[`` without its ``]`` is an ordinary character.
    """
    at = place = 0
    # After the last ``*``, and the first place that it leaves to what follows it.  Only that
    # one may take more: whatever an earlier one could take, this one can.
    star, left = -1, 0
    while place < len(text):
        if pattern[at : at + 1] == "*":
            at += 1
            star, left = at, place
        elif size := _fitting(pattern[at:], text[place]):
            at += size
            place += 1
        elif star >= 0:
            left += 1
            at, place = star, left
        else:
            return False
    return not pattern[at:].strip("*")


def _fitting(pattern: str, character: str) -> int:
    """Return the length of what a pattern begins with, if the character fits it; else 0."""
    # A ] that comes first belongs to the set.
    end = pattern.find("]", 3 if pattern[1:2] in ("!", "^") else 2)
    if pattern[:1] == "[" and end > 0:
        return end + 1 if _in_set(pattern[1:end], character) else 0
    return int(pattern[:1] in ("?", character))


def _in_set(members: str, character: str) -> bool:
    negated = members[0] in "!^"
    members = members[negated:]
    found = False
    while members:
        if len(members) > 2 and members[1] == "-":
            found |= members[0] <= character <= members[2]
            members = members[3:]
        else:
            found |= members[0] == character
            members = members[1:]
    return found is not negated
