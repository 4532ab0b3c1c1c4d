"""What is wrong with records that other programs wrote.

In: the 2560 bytes of a record.  Out: lines for an administrator.
Rule: it is told, and served as far as it can be; nobody's bytes are mended unasked.
"""

from __future__ import annotations

from hv_kvp_daemon.wire.record import KEY_SIZE, plain_lengths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

NO_KEY: Final = "no key, so nobody can ask for it"
UNENDING: Final = "a field without a NUL at its end, which other readers run over"
LEFTOVERS: Final = "bytes behind the end of a text, which other readers may show"
INVALID: Final = "a text that is no valid UTF-8, of which a host is shown U+FFFD"
REPEATED: Final = "the key of an earlier record, whose value is the one that counts"


class DamageReport:
    """Reports each kind of damage once: who has one such record may have a thousand.

    Not at all where ``report`` is None.
    """

    __slots__ = ("_name", "_report", "_told")

    def __init__(self, name: str, report: Callable[[str], object] | None) -> None:
        self._name = name
        self._report = report
        self._told: set[str] = set()

    def look(self, number: int, data: bytes) -> None:
        """Tell what is wrong with a record that is served."""
        if self._report is not None:
            for wrong in damage(data):
                self.tell(wrong, number)

    def tell(self, wrong: str, number: int) -> None:
        """Tell of one of the kinds above."""
        if self._report is not None and wrong not in self._told:
            self._told.add(wrong)
            self._report(
                f"{self._name}: record {number} has {wrong}; it is served as far as it can"
                " be, and `hv-kvp check` shows all such"
            )


def damage(data: bytes) -> list[str]:
    """Return what is wrong with a record."""
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
