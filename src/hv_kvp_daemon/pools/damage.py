# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What is wrong with records that other programs wrote.

It is reported, and the record is served as far as it can be, and not changed.
"""

from __future__ import annotations

from hv_kvp_daemon.wire.record import KEY_SIZE, plain_lengths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

NO_KEY: Final = "no key, so it cannot be asked for"
UNENDING: Final = "a field without a NUL at its end, which other readers run over"
LEFTOVERS: Final = "bytes after the end of a text, which other readers may show"
INVALID: Final = "a text that is no valid UTF-8, of which a host is shown U+FFFD"
REPEATED: Final = "the key of an earlier record, whose value is the one that counts"


class DamageReport:
    """Reports each kind of damage once, as there may be a thousand; if it has a ``report``."""

    __slots__ = ("_report", "_reported")

    def __init__(self, report: Callable[[str], object] | None) -> None:
        self._report = report
        self._reported: set[str] = set()

    def check(self, number: int, data: bytes) -> None:
        """Report what is wrong with a record that is served."""
        if self._report is not None:
            for kind in damage(data):
                self.report_kind(kind, number)

    def report_kind(self, kind: str, number: int) -> None:
        """Report one of the kinds above."""
        if self._report is not None and kind not in self._reported:
            self._reported.add(kind)
            self._report(
                f"record {number} has {kind}; it is served as far as it can be, and"
                " `hv-kvp check` shows all such"
            )


def damage(data: bytes) -> list[str]:
    """Return the kinds of damage of a record."""
    if plain_lengths(data) is not None:
        return []
    found = [] if data[0] else [NO_KEY]
    for field in (data[:KEY_SIZE], data[KEY_SIZE:]):
        text, nul, rest = field.partition(b"\0")
        if not nul:
            found.append(UNENDING)
        if rest.strip(b"\0"):
            found.append(LEFTOVERS)
        try:
            text.decode()
        except UnicodeDecodeError:
            found.append(INVALID)
    return found
