"""A request of SET_IP_INFO, in the child that the daemon forks for it (see `injection`)."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.guest.files import below
from hv_kvp_daemon.wire.ipinfo import decode_ip
from hv_kvp_daemon.wire.uapi import HV_E_FAIL, HV_ERROR_NOT_SUPPORTED, HV_S_OK

from . import injection_record, target
from .apply import apply, is_in_force
from .injection import STATUS
from .injection_record import Injection
from .manager import managing
from .program import Programs
from .settings import RequestError, parse
from .verify import MISSING
from .writer import WriterError
from .writers import WRITERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.wire.ipinfo import IpInfo

SYSTEMCTL: Final = "/usr/bin/systemctl"
UNIT: Final = "hv-kvp-ip@{}.service"
_TEMPLATE: Final = "hv-kvp-ip@.service"

# systemd.unit(5)
_UNIT_DIRECTORIES: Final = (
    *("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system"),
    *("/usr/lib/systemd/system", "/lib/systemd/system"),
)


def answer(message: bytes, backend: str, root: str, pipe: int) -> None:
    """Carry out a request; write lines for the log into a pipe, and the status."""

    def say(text: str) -> None:
        os.write(pipe, f"{text}\n".encode("utf-8", "backslashreplace"))

    try:
        status = _handle(decode_ip(message), backend, root, say)
    except RequestError as error:
        status = error.status
        say(str(error))
    except Exception as error:  # noqa: BLE001 - the host gets an answer, the log the reason
        status = HV_E_FAIL
        say(f"{type(error).__name__}: {error}")
    say(f"{STATUS}{status}")


def resume(root: str, pipe: int) -> None:
    """Carry out what a crash has left pending; write lines for the log into a pipe."""

    def say(text: str) -> None:
        os.write(pipe, f"{text}\n".encode("utf-8", "backslashreplace"))

    for guid in injection_record.guids(root):
        try:
            pending = injection_record.load(root, guid).pending
            if pending is not None:
                say(f"{pending.interface}: a request that was not completed is carried out")
                _carry_out(guid, Programs(wait_readable, say, root))
        except (OSError, ValueError) as error:  # noqa: PERF203 - at the start, of few
            say(f"{guid}: {error}")
    say(f"{STATUS}{HV_S_OK}")


def _handle(info: IpInfo, backend: str, root: str, say: Callable[[str], None]) -> int:
    settings = parse(info, say)
    guid = target.parse_guid(info.adapter_id)
    where = target.find(guid, root)
    name = managing(root, where.name, where.ifindex) if backend == "auto" else backend
    if name not in WRITERS:
        raise RequestError(
            HV_ERROR_NOT_SUPPORTED,
            f"{where.name} is managed by {name}; supported: {', '.join(WRITERS)}",
        )
    programs = Programs(wait_readable, say, root)
    with injection_record.locked(root):
        record = injection_record.load(root, guid)
        former = record.current.settings if record.current else None
        wanted = Injection(settings.over(former), where.name, name, time.time_ns())
        try:
            if is_in_force(record, wanted, where, programs):
                return HV_S_OK
        except WriterError as error:
            raise RequestError(HV_E_FAIL, f"{where.name}: {error}") from error
        record.pending = wanted
        record.save(root)
    _carry_out(guid, programs)
    return _result(wanted, guid, root, say)


def _carry_out(guid: str, programs: Programs) -> None:
    """Have the unit apply a request and wait for its end; or apply it here, without one."""
    root = programs.root
    is_there = any(
        os.path.exists(below(root, f"{each}/{_TEMPLATE}")) for each in _UNIT_DIRECTORIES
    )
    if is_there and os.path.exists(below(root, "/run/systemd/system")):
        programs.run(SYSTEMCTL, "restart", UNIT.format(guid), seconds=9.0)
    else:
        apply(guid, programs)


def _result(wanted: Injection, guid: str, root: str, say: Callable[[str], None]) -> int:
    record = injection_record.load(root, guid)
    for done in record.current, record.failed:
        if done is not None and done.time == wanted.time:
            detail = f" ({done.detail})" if done.detail else ""
            if done.state == MISSING:
                say(f"{done.interface}: {done.detail}; the former settings are back")
                return HV_E_FAIL
            say(f"{done.interface}: set by {done.backend}: {done.settings}{detail}")
            return HV_S_OK
    raise RequestError(HV_E_FAIL, f"{wanted.interface}: not completed yet, and tried again")
