"""What the driver makes of texts: UTF-16 on the host's side, UTF-8 on the daemon's.

In and out: bytes.  Rule: as ``fs/nls/nls_base.c`` converts them, cut to the
sizes that ``hv_kvp.c`` gives it, so that a simulated host sees what a real one
would see.  One thing differs: a reply that is no UTF-8 is an error here, and not
merely a status, because it is a fault of the daemon.
"""

from __future__ import annotations

from hv_kvp_daemon.wire.errors import WireError

_HIGH_SURROGATES = range(0xD8, 0xDC)  # the upper byte of the first unit of a pair


def to_utf8(wide: bytes, room: int) -> bytes:
    """UTF-16LE as the host sends it, in UTF-8 of at most ``room`` bytes, without a NUL.

    It ends at the first NUL.  An unpaired surrogate is skipped.  What is too long
    ends before the first character that does not fit; kernels without the fix to
    ``utf16s_to_utf8s`` of November 2025 go on with later, shorter characters.
    """
    text = wide.decode("utf-16-le", "ignore").partition("\0")[0]
    # The decoder drops the part of a character that the cut leaves at the end.
    return text.encode()[:room].decode("utf-8", "ignore").encode()


def to_utf16(text: bytes, units: int) -> bytes:
    """UTF-8 of a reply in UTF-16LE of at most ``units`` units, without a NUL.

    A surrogate pair is not split.

    :raises WireError: the text is no UTF-8.  The driver would tell the host
        HV_E_FAIL, and the host would never see the records behind this one.
    """
    try:
        wide = text.decode().encode("utf-16-le")
    except UnicodeDecodeError as error:
        raise WireError(
            f"invalid UTF-8 at byte {error.start} of {len(text)}:"
            " the host would stop its enumeration here"
        ) from error
    if len(wide) > 2 * units:
        wide = wide[: 2 * units]
        if wide[-1] in _HIGH_SURROGATES:
            wide = wide[:-2]
    return wide


def wide(text: str) -> bytes:
    """Text as a host sends it: UTF-16LE and its NUL.  A lone surrogate passes."""
    return text.encode("utf-16-le", "surrogatepass") + b"\0\0"
