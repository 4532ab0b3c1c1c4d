# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A pool as a mapping, for other programs of the guest: ``from hv_kvp_daemon import Pool``.

It is the daemon's own `PoolFile`, so both keep the same promises, with text in place of
bytes.  Bytes that are not UTF-8 become lone surrogates (``surrogateescape``) and those
become the same bytes again, so whatever was read can be written back.

The resident daemon does not import this module.
"""

from __future__ import annotations

import warnings
from collections.abc import ItemsView, KeysView, MutableMapping, ValuesView
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from .pools.config import LOCK_WAIT
from .pools.directory import parse_pool, pool_path
from .pools.errors import LockTimeoutError, NotAPoolError, PoolError, PoolFieldError
from .pools.place import OTHER_DIRECTORY, POOL_DIRECTORY
from .pools.pool import PoolFile
from .service.status import pool_directory
from .wire.text import (
    FIELD_MAX_KEY,
    FIELD_MAX_VALUE,
    HOST_MAX_KEY,
    HOST_MAX_VALUE,
)
from .wire.uapi import (
    KVP_POOL_AUTO,
    KVP_POOL_AUTO_EXTERNAL,
    KVP_POOL_AUTO_INTERNAL,
    KVP_POOL_EXTERNAL,
    KVP_POOL_GUEST,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "DIRECTORIES",
    "FIELD_MAX_KEY",
    "FIELD_MAX_VALUE",
    "HOST_SAFE_KEY",
    "HOST_SAFE_VALUE",
    "LockTimeoutError",
    "NotAPoolError",
    "Pool",
    "PoolError",
    "PoolFieldError",
    "PoolId",
    "PoolWarning",
    "Record",
]

#: Bytes of UTF-8 of a key that the host is sure to get whole: it gets as many UTF-16 units.
#: A longer one, up to FIELD_MAX_KEY bytes, is stored and cut for the host.
HOST_SAFE_KEY: Final = HOST_MAX_KEY

#: The same of a value, up to FIELD_MAX_VALUE bytes.
HOST_SAFE_VALUE: Final = HOST_MAX_VALUE

#: The directories among which a daemon chooses that is started without ``--pool-dir``: its
#: own, and that of cloud-init and the C daemon.
DIRECTORIES: Final = (POOL_DIRECTORY, OTHER_DIRECTORY)


class PoolId(IntEnum):
    """The pools; each is the file ``.kvp_pool_N``."""

    #: Written by the host, read by the guest.
    EXTERNAL = KVP_POOL_EXTERNAL
    #: Written by the guest, read by the host.
    GUEST = KVP_POOL_GUEST
    #: Made by the daemon for each request of the host; its file stays empty.
    AUTO = KVP_POOL_AUTO
    #: Written by the host, about itself.
    HOST = KVP_POOL_AUTO_EXTERNAL
    #: Not used.
    INTERNAL = KVP_POOL_AUTO_INTERNAL


class Record(NamedTuple):
    """A pair of a pool."""

    key: str
    value: str


class PoolWarning(UserWarning):
    """Something about a pool that an administrator should know: damage, a stuck lock."""


class Pool(MutableMapping[str, str]):
    """A pool by its number or name (`PoolId`, ``1`` or ``"guest"``), used in a ``with``.

    As a mapping it has each key once, with the value of its first record, in the order
    of the file, as the daemon answers the host.  `records` returns all records, and
    those with an empty key, which other programs leave, are only there.

    Every operation holds both kinds of lock (flock and fcntl) from its first read to its
    last write.  `pop`, `popitem`, `setdefault` and `update` are several operations, and
    other programs may come between them.

    After each change the data is on the disk (fdatasync), unless ``sync`` is false.  After
    a kill or a power cut in a change, the next program or the daemon finds all of it or
    nothing, and everything else whole and in its order.

    ``directory`` is by default that of the running daemon, and without one the one that a
    daemon would choose (`pools.place`); ``hv-kvp`` has the same rule.  With
    ``writable=False`` nothing is created or changed.  After ``lock_wait`` seconds one kind
    of lock will do; without either the operation fails.  ``report`` gets lines about
    conditions that do not make an operation fail; by default each is a `PoolWarning`.

    A pool is not for several threads at once.  After a fork, both processes may use it.

    :raises ValueError: there is no such pool.

    Every operation may raise

    :raises PoolError: the file cannot be used, or the auto pool is to be changed, which is
        made for each request of the host; with ``pool``, ``path`` and ``reason``.
    :raises PoolFieldError: a key of 0 or more than 511 bytes (FIELD_MAX_KEY), a value
        of more than 2047 (FIELD_MAX_VALUE), or a NUL in either, where one is to be
        set; with ``field``, ``actual`` and ``allowed``.  Also a ``ValueError``.
    """

    def __init__(
        self,
        pool: PoolId | int | str,
        *,
        directory: str | None = None,
        writable: bool = True,
        sync: bool = True,
        lock_wait: float = LOCK_WAIT,
        report: Callable[[str], object] | None = None,
    ) -> None:
        number = parse_pool(str(int(pool)) if isinstance(pool, int) else pool)
        self.id: PoolId = PoolId(number)
        self._file = PoolFile(
            number,
            pool_path(directory or pool_directory(), number),
            report=report or _warn,
            sync=sync,
            writable=writable,
            lock_wait=lock_wait,
        )

    @property
    def path(self) -> str:
        """The file's absolute path."""
        return self._file.path

    def __enter__(self) -> Pool:  # noqa: PYI034  # typing.Self is of Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a later operation opens it again."""
        self._file.close()

    def __getitem__(self, key: str) -> str:
        try:
            value = self._file.find(_encode(key))
        except PoolFieldError as error:
            raise KeyError(key) from error
        if value is None:
            raise KeyError(key)
        return _decode(value)

    def __setitem__(self, key: str, value: str) -> None:
        self._changeable().store(_encode(key), _encode(value))

    def __delitem__(self, key: str) -> None:
        """Remove all records with this key."""
        try:
            found = self._changeable().delete(_encode(key))
        except PoolFieldError as error:
            raise KeyError(key) from error
        if not found:
            raise KeyError(key)

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._snapshot())

    def __iter__(self) -> Iterator[str]:
        return iter(self._snapshot())

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        try:
            return self._file.find(_encode(key)) is not None
        except PoolFieldError:
            return False

    def keys(self) -> KeysView[str]:
        """All keys, of one moment."""
        return self._snapshot().keys()

    def values(self) -> ValuesView[str]:
        """The first value of each key, of one moment."""
        return self._snapshot().values()

    def items(self) -> ItemsView[str, str]:
        """The keys with their first values, of one moment."""
        return self._snapshot().items()

    def records(self) -> list[Record]:
        """All records, in the order of the file, with those that repeat a key."""
        return [
            Record(_decode(record.key), _decode(record.value))
            for record in self._file.records()
        ]

    def append(self, key: str, value: str) -> None:
        """Add a record after the last, whether or not the key is there."""
        self._changeable().append(_encode(key), _encode(value))

    def clear(self) -> None:
        """Remove everything, by one call that is done or not."""
        self._changeable().clear()

    def __repr__(self) -> str:
        return f"Pool({self.id.name.lower()!r}, path={self.path!r})"

    def _changeable(self) -> PoolFile:
        if self.id is PoolId.AUTO:
            reason = "made for each request of the host, so it cannot be changed"
            raise PoolError(self.id, self.path, reason)
        return self._file

    def _snapshot(self) -> dict[str, str]:
        pairs: dict[str, str] = {}
        for record in self._file.records():
            # A key that fills its field has no NUL and cannot be asked for.
            if 0 < len(record.key) <= FIELD_MAX_KEY:
                pairs.setdefault(_decode(record.key), _decode(record.value))
        return pairs


def _warn(text: str) -> None:
    warnings.warn(text, PoolWarning, stacklevel=2)


def _encode(text: str) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"keys and values are str, not {type(text).__name__}: {text!r}")
    return text.encode("utf-8", "surrogateescape")


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
