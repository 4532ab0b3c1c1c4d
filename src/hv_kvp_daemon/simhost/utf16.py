# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The driver's conversions of texts between the host's UTF-16 and the daemon's UTF-8.

They follow ``fs/nls/nls_base.c``, with the limits that ``hv_kvp.c`` passes to it.  One thing
differs: a reply that is not UTF-8 raises an error, since it is a fault of the daemon, where
the driver would only answer the host with a status.
"""

from __future__ import annotations

from hv_kvp_daemon.wire.errors import WireError

_HIGH_SURROGATES = range(0xD8, 0xDC)  # the upper byte of the first unit of a pair


def to_utf8(wide: bytes, room: int) -> bytes:
    """Convert a host's UTF-16LE to UTF-8 of at most ``room`` bytes, without a NUL.

    The text ends at the first NUL; an unpaired surrogate is skipped.  A text that is too
    long ends before the first character that does not fit.  Kernels before November 2025
    (utf16s_to_utf8s) go on with later characters that are short enough.
    """
    text = wide.decode("utf-16-le", "ignore").partition("\0")[0]
    # The decoder drops the part of a character that the cut leaves at the end.
    return text.encode()[:room].decode("utf-8", "ignore").encode()


def to_utf16(text: bytes, units: int) -> bytes:
    """Convert a reply's UTF-8 to UTF-16LE of at most ``units`` units, without a NUL.

    A surrogate pair is not split.

    :raises WireError: the text is not UTF-8.  The driver would answer the host with
        HV_E_FAIL, and the host would not ask for the records after this one.
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
    """Encode a text as a host sends it: UTF-16LE with a NUL; a lone surrogate is allowed."""
    return text.encode("utf-16-le", "surrogatepass") + b"\0\0"
