# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Shell patterns, as in glob(7), without the ``fnmatch`` module, which imports ``re``."""

from __future__ import annotations


def matches(pattern: str, text: str) -> bool:
    """Return whether a whole text fits a pattern of ``*``, ``?``, ``[a-z]`` and ``[!a-z]``.

    A ``[`` without its ``]`` is an ordinary character.
    """
    if not pattern:
        return not text
    if pattern[0] == "*":
        rest = pattern.lstrip("*")
        return any(matches(rest, text[start:]) for start in range(len(text) + 1))
    if not text:
        return False
    # A ] that comes first belongs to the set.
    end = pattern.find("]", 3 if pattern[1:2] in ("!", "^") else 2)
    if pattern[0] == "[" and end > 0:
        return _in_set(pattern[1:end], text[0]) and matches(pattern[end + 1 :], text[1:])
    return pattern[0] in ("?", text[0]) and matches(pattern[1:], text[1:])


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
