# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The auto pool: the ten items that a host can read about this guest.

Seven of them are constant while the daemon runs, but for the driver's version and
`AutoPool.reload`.  The full name and the addresses are brought up to date when they
are asked for; between requests nothing is watched.  If the system fails, the item
keeps its last value, at first an empty one; the error goes to the log and never
becomes a value.
"""

from __future__ import annotations

import os

from hv_kvp_daemon.wire.uapi import KVP_AUTO_KEYS

from .os_release import read_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .addresses import AddressSource
    from .fqdn import FqdnLookup

# In the order of KVP_AUTO_KEYS.
_FQDN, _DRIVER, _IPV4, _IPV6, _BUILD, _NAME, _MAJOR, _MINOR, _VERSION, _ARCH = range(
    len(KVP_AUTO_KEYS)
)
_INDEX = {key: index for index, key in enumerate(KVP_AUTO_KEYS)}
_CHANGING = frozenset({_FQDN, _IPV4, _IPV6})

# The C daemon's value until the driver has answered the registration.
NO_DRIVER_VERSION = b"Unknown version"


class AutoPool:
    """The items, made from the guest's addresses, its name, uname and release files.

    ``report`` gets a line for the log if the addresses cannot be read: one for each
    different error in a row.  The release files are those below ``root``.  `close`
    closes ``addresses`` and ``lookup``, too.
    """

    def __init__(
        self,
        addresses: AddressSource,
        lookup: FqdnLookup,
        *,
        report: Callable[[str], None],
        root: str = "/",
    ) -> None:
        self._addresses = addresses
        self._lookup = lookup
        self._report = report
        self._root = root
        self._error = ""
        # The addresses when they could last be read.
        self._values = (b"", b"")
        self._items = [(key, b"") for key in KVP_AUTO_KEYS]
        self.driver_version = NO_DRIVER_VERSION
        self._read_system()

    def item(self, index: int) -> tuple[bytes, bytes] | None:
        """Return key and value in UTF-8 without NUL; None past the end.

        This is the same tuple as long as the value is the same.  The value may be
        longer than the host's field.
        """
        if not 0 <= index < len(KVP_AUTO_KEYS):
            return None
        if index in _CHANGING:
            self._update(index)
        return self._items[index]

    def find(self, key: bytes) -> bytes | None:
        """Return the value of a key in exactly this spelling, or None."""
        index = _INDEX.get(key, -1)
        item = self.item(index)
        return None if item is None else item[1]

    def reload(self) -> None:
        """Read uname and the release files again, and the rest when it is asked for."""
        self._addresses.invalidate()
        self._lookup.refresh()
        self._read_system()

    def close(self) -> None:
        """End a look-up that is under way and close all descriptors."""
        self._lookup.close()
        self._addresses.close()

    @property
    def driver_version(self) -> bytes:
        """The driver's answer to the registration: IntegrationServicesVersion."""
        return self._items[_DRIVER][1]

    @driver_version.setter
    def driver_version(self, version: bytes) -> None:
        self._set(_DRIVER, version)

    def _set(self, index: int, value: bytes) -> None:
        if value != self._items[index][1]:
            self._items[index] = KVP_AUTO_KEYS[index], value

    def _read_system(self) -> None:
        uname = os.uname()
        name, major, minor = read_identity(self._root)
        release = os.fsencode(uname.release)
        self._set(_BUILD, release)
        self._set(_VERSION, release.partition(b"-")[0])
        self._set(_ARCH, os.fsencode(uname.machine))
        self._set(_NAME, name.encode())
        self._set(_MAJOR, major.encode())
        self._set(_MINOR, minor.encode())

    def _update(self, index: int) -> None:
        try:
            self._values = self._addresses.values()
            self._error = ""
        except OSError as error:
            if str(error) != self._error:
                self._error = str(error)
                self._report(f"the addresses keep their last values: {error}")
        if index == _FQDN:
            self._set(_FQDN, self._lookup.name(self._values))
        else:
            self._set(index, self._values[index - _IPV4])
