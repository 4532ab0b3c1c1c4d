"""The auto pool: ten things that the host is told about this guest.

In: an address source, the release files, uname, the look-up of the name, and
the driver's version.  Out: ``item(index)`` and ``find(name)``, bytes that the
wire cuts to the host's sizes; ``generation`` says how long they hold.
Rule: a request reads what is known and waits for nothing that can hang; an
error of the system is reported to the service and never becomes a value.

No loop is known here.  The service polls what `watched` names, calls `on_event`
for what is ready, and `expire` when `deadline` has come, which an event may
bring about at once.
"""

from __future__ import annotations

import os
import select
import time

from hv_kvp_daemon.wire.uapi import KVP_AUTO_KEYS

from .fqdn import FqdnLookup, HostnameWatch
from .os_release import read_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class AddressSource(Protocol):
        """The guest's addresses, kept until an event says that they changed."""

        def ipv4(self) -> bytes:
            """Return the value of NetworkAddressIPv4.  Raises ``OSError``."""

        def ipv6(self) -> bytes:
            """Return the value of NetworkAddressIPv6.  Raises ``OSError``."""

        def drain(self) -> bool:
            """Read all events; True: the addresses may have changed."""

        def fileno(self) -> int:
            """Return the descriptor of the events, or -1."""

        def invalidate(self) -> None:
            """Forget what is kept."""

        def close(self) -> None:
            """Close the descriptor."""


KEYS = KVP_AUTO_KEYS
_FQDN, _DRIVER, _IPV4, _IPV6, _BUILD, _NAME, _MAJOR, _MINOR, _VERSION, _ARCH = range(len(KEYS))
_INDEX = {key: index for index, key in enumerate(KEYS)}

# What the C daemon says until the driver has answered the registration.
NO_DRIVER_VERSION = b"Unknown version"

# Seconds between two look-ups for the sake of addresses.  Links and addresses
# come in bursts (a boot, containers that start), and each look-up is a process
# and questions to a server.
LOOKUP_INTERVAL = 5.0


class Intrinsic:
    """The auto pool's ten items and what keeps them true.

    ``problem`` is called with one line for the log when the system refuses
    something; for a failing address source once, until it fails in another way
    or has worked again.  The last value that was known (at first: empty) stands.

    The object owns the address source, the look-up and the watch: `close` closes them.
    """

    __slots__ = (
        "_addresses",
        "_asked_with",
        "_failed",
        "_generation",
        "_interval",
        "_lookup",
        "_not_before",
        "_problem",
        "_root",
        "_values",
        "_wanted",
        "_watch",
    )

    def __init__(
        self,
        addresses: AddressSource,
        *,
        problem: Callable[[str], None],
        root: str = "/",
        lookup: FqdnLookup | None = None,
        watch: HostnameWatch | None = None,
        interval: float = LOOKUP_INTERVAL,
    ) -> None:
        self._addresses = addresses
        self._problem = problem
        self._root = root
        # The watch comes first: a name set after this line is reported.
        self._watch = watch or HostnameWatch()
        self._lookup = lookup or FqdnLookup()
        self._interval = interval
        self._generation = 0
        self._failed: dict[int, str] = {}
        self._wanted = False
        self._not_before = 0.0
        self._asked_with = (b"", b"")
        self._values = [b""] * len(KEYS)
        self._values[_DRIVER] = NO_DRIVER_VERSION
        self._read_system()

    def start(self) -> None:
        """Begin the first look-up of the name; until then no process is made.

        To be called by the process that runs the loop, after it has detached:
        only the parent of a child can reap it.
        """
        self._look_up()

    def reload(self) -> None:
        """Read os-release, uname and addresses again, and look the name up again."""
        self._generation += 1
        self._addresses.invalidate()
        self._read_system()
        self._look_up()

    def close(self) -> None:
        """End a look-up that is under way and close all descriptors."""
        self._lookup.close()
        self._watch.close()
        self._addresses.close()

    def item(self, index: int) -> tuple[bytes, bytes] | None:
        """Return key and value, both UTF-8 without NUL and not cut; None past the end."""
        if not 0 <= index < len(KEYS):
            return None
        return KEYS[index], self._value(index)

    def find(self, name: bytes) -> bytes | None:
        """Return the value of a key in exactly this spelling, or None."""
        index = _INDEX.get(name)
        return None if index is None else self._value(index)

    @property
    def generation(self) -> int:
        """A number that differs from the last one if any value may have changed.

        While the address source fails it grows at each look, so that whoever
        keeps values by this number asks again and sees the source recover.
        """
        if self._failed:
            self._generation += 1
        return self._generation

    @property
    def driver_version(self) -> bytes:
        """What the driver answered to the registration, as IntegrationServicesVersion."""
        return self._values[_DRIVER]

    @driver_version.setter
    def driver_version(self, version: bytes) -> None:
        self._set(_DRIVER, version)

    def watched(self) -> list[tuple[int, int]]:
        """Return descriptors and their poll events.

        They may differ after `start`, `reload`, `on_event` and `expire`.
        """
        wishes = (
            (self._lookup.fileno(), select.POLLIN),
            (self._watch.fileno(), select.POLLPRI),
            (self._addresses.fileno(), select.POLLIN),
        )
        return [wish for wish in wishes if wish[0] >= 0]

    def on_event(self, fd: int) -> bool:
        """Take what a ready descriptor has.  True: a value may have changed.

        One that is no longer watched is no error: an earlier event of the same
        poll may have ended its use.
        """
        before = self._generation
        if fd == self._lookup.fileno():
            if self._lookup.finish():
                self._take_name()
        elif fd == self._watch.fileno():
            if self._watch.changed():
                self._look_up()
        elif fd == self._addresses.fileno() and self._drain():
            self._generation += 1
            self._wanted = True
        return self._generation != before

    def deadline(self) -> float | None:
        """Return the time.monotonic() at which to call `expire`, or None.  May be past."""
        if self._lookup.deadline is not None:
            return self._lookup.deadline
        return self._not_before if self._wanted else None

    def expire(self) -> bool:
        """Do what the clock asks for; nothing before `deadline`.  True: a value changed."""
        before = self._generation
        limit = self._lookup.deadline
        if limit is not None and time.monotonic() >= limit and self._lookup.expire():
            self._take_name()
        self._look_up_if_due()
        return self._generation != before

    def _value(self, index: int) -> bytes:
        if index in (_IPV4, _IPV6):
            self._read_addresses(index)
        return self._values[index]

    def _set(self, index: int, value: bytes) -> None:
        if value != self._values[index]:
            self._values[index] = value
            self._generation += 1

    def _read_system(self) -> None:
        uname = os.uname()
        identity = read_identity(self._root)
        release = os.fsencode(uname.release)
        self._take_name()
        self._set(_BUILD, release)
        self._set(_VERSION, release.partition(b"-")[0])
        self._set(_ARCH, os.fsencode(uname.machine))
        self._set(_NAME, identity.name.encode())
        self._set(_MAJOR, identity.major.encode())
        self._set(_MINOR, identity.minor.encode())

    def _read_addresses(self, index: int) -> None:
        """Bring one of the two address items up to date.

        That is no new generation, since the event was one already; but it is
        one to be able to read again.
        """
        source = self._addresses.ipv4 if index == _IPV4 else self._addresses.ipv6
        try:
            self._values[index] = source()
        except OSError as error:
            text = f"{KEYS[index].decode()} keeps its last value: {error}"
            if self._failed.get(index) != text:
                self._failed[index] = text
                self._problem(text)
        else:
            if self._failed.pop(index, None) is not None:
                self._generation += 1

    def _drain(self) -> bool:
        try:
            return self._addresses.drain()
        except OSError as error:
            self._problem(f"address events are read anew: {error}")
            self._addresses.invalidate()
            return True

    def _take_name(self) -> None:
        self._set(_FQDN, self._lookup.name.encode())

    def _look_up(self) -> None:
        self._wanted = False
        self._not_before = time.monotonic() + self._interval
        self._asked_with = (self._value(_IPV4), self._value(_IPV6))
        try:
            self._lookup.start()
        except OSError as error:
            self._problem(f"the host name stands for the full name: no look-up: {error}")
        self._take_name()

    def _look_up_if_due(self) -> None:
        """Look up if addresses changed, none is under way and the last one is long enough ago.

        A renewed lease or router advertisement is an event, too, but no change;
        it is no reason to ask again for a name that is known.
        """
        now = time.monotonic()
        if not self._wanted or self._lookup.fileno() >= 0 or now < self._not_before:
            return
        if self._lookup.known and self._asked_with == (self._value(_IPV4), self._value(_IPV6)):
            self._wanted = False
            self._not_before = now + self._interval
        else:
            self._look_up()
