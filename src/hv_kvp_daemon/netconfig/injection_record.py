# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What the host has set for each adapter: a JSON file each in the state directory.

A record outlives the process that carries a request out.  It says what is to be done, so
that it can be done again after a crash, and what the manager's files were before, so that
all can be undone.  It is replaced as a whole and synced before each step that it describes.
Only root can read it, since it has copies of files that may be secret.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hv_kvp_daemon.guest.files import below, list_names

from . import atomic
from .atomic import Content
from .injection import DIRECTORY
from .manager import DIRECT
from .settings import Settings, from_document, to_document
from .verify import STORED

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUFFIX: Final = ".json"
_FORMAT: Final = 1


class Injection(NamedTuple):
    """Settings of one request, and what became of them.

    ``time`` is that of the request, in nanoseconds since 1970; no two are the same.
    ``state`` is empty before it is carried out, then HOLDS, STORED or MISSING of `verify`.
    """

    settings: Settings
    interface: str
    backend: str
    time: int
    state: str = ""
    detail: str = ""

    def outcome(self) -> str:
        """Return the state with its reason, for people."""
        return f"{self.state} ({self.detail})" if self.detail else self.state


class Record:
    """The record of one adapter.

    ``current`` is in force, ``pending`` is to be carried out, ``failed`` is the last one if
    it was taken back.  ``original`` has the content of each file before the first request,
    and ``before`` that before the pending one.
    """

    def __init__(self, guid: str) -> None:
        self.guid = guid
        self.current: Injection | None = None
        self.pending: Injection | None = None
        self.failed: Injection | None = None
        self.original: dict[str, Content | None] = {}
        self.before: dict[str, Content | None] = {}

    def save(self, root: str) -> None:
        """Write the record.

        :raises OSError: it cannot be written; the former one is there.
        """
        os.makedirs(below(root, DIRECTORY), mode=0o700, exist_ok=True)
        document = {
            "format": _FORMAT,
            "guid": self.guid,
            **{name: _encoded(getattr(self, name)) for name in _INJECTIONS},
            "original": self.original,
            "before": self.before,
        }
        text = json.dumps(document, indent=2) + "\n"
        atomic.put(_path(root, self.guid), Content(text, 0o600))

    def remove(self, root: str) -> None:
        """Remove the record.

        :raises OSError: it cannot be removed.
        """
        atomic.put(_path(root, self.guid), None)


_INJECTIONS: Final = ("current", "pending", "failed")


def load(root: str, guid: str) -> Record:
    """Read the record of an adapter, empty if there is none.

    :raises OSError: it cannot be read.
    :raises ValueError: it is none of this program.
    """
    record = Record(guid)
    path = _path(root, guid)
    content = atomic.read(path)
    if content is None:
        return record
    try:
        document = json.loads(content.text)
        for name in _INJECTIONS:
            setattr(record, name, _decoded(document[name]))
        for name in ("original", "before"):
            files = {
                path: None if each is None else Content(*each)
                for path, each in document[name].items()
            }
            setattr(record, name, files)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove it") from error
    return record


def guids(root: str) -> list[str]:
    """Return the GUIDs of the adapters that have a record."""
    names = list_names(root, DIRECTORY)
    return [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]


def open_ends(root: str) -> list[str]:
    """Return the GUIDs of the adapters of which not all is known or done.

    Their record has a pending request, or settings that were not seen yet, or that only the
    kernel has, so that a reboot removes them.
    """
    found = []
    for guid in guids(root):
        try:
            record = load(root, guid)
        except (OSError, ValueError):
            continue  # `injection_request.resume` has reported it
        current = record.current
        if record.pending or (
            current and (current.state == STORED or current.backend == DIRECT)
        ):
            found.append(guid)
    return found


@contextlib.contextmanager
def locked(root: str) -> Iterator[None]:
    """Hold the lock under which records and the files of managers are changed.

    :raises OSError: the state directory cannot be used.
    """
    directory = below(root, DIRECTORY)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _path(root: str, guid: str) -> str:
    return below(root, f"{DIRECTORY}/{guid}{_SUFFIX}")


def _encoded(injection: Injection | None) -> dict[str, object] | None:
    if injection is None:
        return None
    return {**injection._asdict(), "settings": to_document(injection.settings)}


def _decoded(document: dict[str, Any] | None) -> Injection | None:
    if document is None:
        return None
    return Injection(**{**document, "settings": from_document(document["settings"])})
