# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Carrying out what the record of an adapter asks for, and undoing it.

Each step is in the record before it is taken, and each can be repeated:

    pending               the request is stored
    pending, before       what its files replace is stored, too; then they are written
    current               the manager has them, and rtnetlink has shown the addresses
    failed                or they did not come, and the files are again those of ``before``

A process that is killed leaves a pending request, which the next one carries out from the
start: systemd restarts ``hv-kvp-ip.service``, and the daemon looks for pending requests at its
start.  ``before`` is stored once, so it never has what that request wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hv_kvp_daemon.guest.files import below

from . import atomic, injection_record, resolv_conf, target, verify
from .atomic import Content
from .manager import DIRECT
from .resolver import RESOLV_CONF
from .settings import RequestError
from .target import Target
from .verify import MISSING, STORED, Outcome
from .writer import WriterError
from .writers import WRITERS

if TYPE_CHECKING:
    from .injection_record import Injection, Record
    from .program import Programs
    from .settings import Settings
    from .writer import Writer


def apply(guid: str, programs: Programs) -> Injection | None:
    """Carry out the pending request of an adapter; return what became of it.

    None if nothing is pending.

    :raises OSError: the record, or a file that was replaced, cannot be written; the request
        is still pending.
    :raises ValueError: the record is damaged.
    """
    with injection_record.locked(programs.root):
        record = injection_record.load(programs.root, guid)
        if record.pending is None:
            return None
        try:
            where = target.find(guid, programs.root)
            done = _carry_out(record, record.pending, where, programs)
        except (RequestError, WriterError, OSError) as error:
            _take_back(record, programs)
            done = record.pending._replace(state=MISSING, detail=str(error))
        if done.state == MISSING:
            record.failed = done
            if record.current is None:
                record.original = {}
        else:
            record.current, record.failed = done, None
        record.pending, record.before = None, {}
        record.save(programs.root)
        return done


def renew(guid: str, programs: Programs) -> bool:
    """Ask again for settings that only the kernel had; return whether it has them no more.

    :raises OSError: the record, or the kernel's tables, cannot be read.
    :raises ValueError: the record is damaged.
    """
    with injection_record.locked(programs.root):
        record = injection_record.load(programs.root, guid)
        current = record.current
        if current is None or record.pending or current.backend != DIRECT:
            return False
        try:
            where = target.find(guid, programs.root)
        except RequestError:
            return False  # The adapter is not there.
        if verify.look(current.settings, where.ifindex).state != MISSING:
            return False
        record.pending = current._replace(state="", detail="")
        record.save(programs.root)
        return True


def forget(guid: str, programs: Programs) -> bool:
    """Undo all that the host has set for an adapter; return whether there was anything.

    :raises OSError: a file or the record cannot be written.
    :raises ValueError: the record is damaged.
    """
    with injection_record.locked(programs.root):
        record = injection_record.load(programs.root, guid)
        found = record.current or record.pending
        if found is not None:
            writer = _writer(found, Target(guid, found.interface, 0), programs)
            _put_back(writer, record, record.original)
            _hand_on_servers(record, found.interface, programs.root)
        record.remove(programs.root)
        return found is not None


def is_in_force(record: Record, wanted: Injection, where: Target, programs: Programs) -> bool:
    """Whether a request asks for what is there already.

    :raises OSError: a file, or the kernel's tables, cannot be read.
    """
    current = record.current
    if record.pending is not None or current is None:
        return False
    same = current._replace(time=wanted.time, state=wanted.state, detail=wanted.detail)
    if same != wanted:
        return False
    writer = _writer(wanted, where, programs)
    for file in writer.files(wanted.settings):
        if _read(file.path, programs.root) != (file.text, file.mode):
            return False
    return (
        not writer.is_running() or verify.look(wanted.settings, where.ifindex).state != MISSING
    )


def _carry_out(
    record: Record, wanted: Injection, where: Target, programs: Programs
) -> Injection:
    former = record.current
    if former is not None and (former.interface, former.backend) != (
        wanted.interface,
        wanted.backend,
    ):
        # Another manager, or another name: two files would contradict each other.
        writer = _writer(former, where._replace(name=former.interface), programs)
        _put_back(writer, record, record.original)
        record.current, record.original, former = None, {}, None
    writer = _writer(wanted, where, programs)
    files = writer.files(wanted.settings)
    if not record.before:
        # A file of the last request that this one does not need is as it was originally.
        paths = {*record.original, *(file.path for file in files)}
        record.before = {path: _read(path, programs.root) for path in paths}
        record.original = {**record.before, **record.original}
        record.save(programs.root)
    writer.prepare()
    contents = {file.path: Content(file.text, file.mode) for file in files}
    unused = {path: text for path, text in record.original.items() if path not in contents}
    _restore(writer, record, unused)
    for path, content in contents.items():
        if _read(path, programs.root) != content:
            atomic.put(below(programs.root, path), content)
    outcome = _activated(writer, wanted.settings, former.settings if former else None)
    detail = outcome.detail
    if outcome.state == MISSING:
        instead = writer.used_instead()
        detail += f"; {instead} is in force" if instead else ""
        _take_back(record, programs)
    else:
        writer.confirm()
    return wanted._replace(state=outcome.state, detail=detail)


def _activated(writer: Writer, settings: Settings, former: Settings | None) -> Outcome:
    if not writer.is_running():
        return Outcome(STORED, "the network manager does not run yet")
    writer.activate(settings)
    return verify.wait(settings, writer.target.ifindex, former)


def _take_back(record: Record, programs: Programs) -> None:
    """Put the files back that a pending request has replaced."""
    if record.pending is not None and record.before:
        where = Target(record.guid, record.pending.interface, 0)
        _put_back(_writer(record.pending, where, programs), record, record.before)


def _writer(injection: Injection, where: Target, programs: Programs) -> Writer:
    return WRITERS[injection.backend](where, programs)


def _read(path: str, root: str) -> Content | None:
    return atomic.read(below(root, path))


def _put_back(writer: Writer, record: Record, contents: dict[str, Content | None]) -> None:
    writer.prepare()
    _restore(writer, record, contents)
    writer.revert()


def _restore(writer: Writer, record: Record, contents: dict[str, Content | None]) -> None:
    """Write former contents of files, but not over what another program has written since."""
    for path, content in contents.items():
        there = _read(path, writer.root)
        if (
            path != RESOLV_CONF
            or there == record.original[path]
            or resolv_conf.owner(there) == writer.target.name
        ):
            atomic.put(below(writer.root, path), content)


def _hand_on_servers(record: Record, interface: str, root: str) -> None:
    """Give an adapter that has replaced our resolv.conf what we have replaced there."""
    for guid in injection_record.guids(root):
        other = injection_record.load(root, guid)
        if resolv_conf.owner(other.original.get(RESOLV_CONF)) == interface:
            other.original[RESOLV_CONF] = record.original.get(RESOLV_CONF)
            other.save(root)
