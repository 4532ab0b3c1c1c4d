# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``hv-kvp status``: whether the daemon serves, its process, requests and pools.

The figures come from the daemon's status page, /proc and the lengths of the pool files.
No key and no value is shown.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from hv_kvp_daemon.cli import arguments, jsontext, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_UNUSABLE, Command, CommandError
from hv_kvp_daemon.pools.directory import POOL_NAMES, PoolDirectory
from hv_kvp_daemon.service.status import DaemonStatus, StatusError, find, operation_name
from hv_kvp_daemon.wire.message import status_name
from hv_kvp_daemon.wire.uapi import KVP_POOL_AUTO

from .process_state import find_stall

# The process names of the daemons for this driver: ours and the C daemon's, and RHEL's.
_NAMES = frozenset({"hv_kvp_daemon", "hypervkvpd"})

_MIB = 1 << 20


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_transport(parser)
    arguments.add_run_dir(parser)
    arguments.add_json(parser)


def _status(options: argparse.Namespace) -> int:
    facts = gather(options)
    if options.json:
        jsontext.show(facts)
    if not facts["running"]:
        raise CommandError(f"hv-kvp-daemon is {not_running()}")
    if not options.json:
        show_lines(page(facts))
    return exit_status(facts)


def exit_status(facts: dict[str, Any]) -> int:
    """Return the exit status that says whether the daemon serves."""
    return EXIT_DONE if facts["serving"] and not facts["failing"] else EXIT_UNUSABLE


def gather(options: argparse.Namespace) -> dict[str, Any]:
    """Return the facts about the daemon that the options name, as a JSON document.

    :raises CommandError: its status page cannot be read.
    """
    if not os.path.exists("/proc/self/stat"):
        raise CommandError("without /proc it cannot be seen whether a daemon runs")
    path = arguments.status_page(options)
    try:
        daemon = find(path)
    except PermissionError as error:
        raise CommandError(
            f"{path}: {error.strerror}; run it as root, or: systemctl status hv-kvp"
        ) from error
    except StatusError as error:
        raise CommandError(str(error)) from error
    if daemon is None:
        return {"running": False, "serving": False}
    import psutil  # noqa: PLC0415 - the help is there without it

    facts = {"running": True, "serving": daemon.serving}
    try:
        return facts | _reported(daemon) | _observed(daemon)
    except psutil.NoSuchProcess as error:
        raise CommandError(f"hv-kvp-daemon (pid {daemon.pid}) has just ended") from error


def not_running() -> str:
    """Return "not running", who runs instead, and what to do."""
    return f"not running{_others()}; see: hv-kvp doctor"


def show_lines(lines: Iterable[tuple[str, str]]) -> None:
    """Write named texts, one a line; in a pipe no line is cut."""
    columns = terminal.columns() if terminal.is_terminal() else sys.maxsize
    for name, text in lines:
        print(terminal.fit(f"{name:>12}: {text}", columns))


def _others() -> str:
    """Return ", but ... is", if other processes have the name of a KVP daemon."""
    import psutil  # noqa: PLC0415 - as above

    found = [
        f"{process.info['name']} (pid {process.pid})"
        for process in psutil.process_iter(["name"])
        if process.info["name"] in _NAMES
    ]
    return f", but {', '.join(found)} is" if found else ""


def _reported(daemon: DaemonStatus) -> dict[str, Any]:
    """Return the facts that the daemon publishes, and whether it can do as it says."""
    last, failure = daemon.last_request, daemon.last_failure
    trouble = _trouble(daemon)
    return {
        "serving": daemon.serving and not trouble,
        "trouble": trouble or None,
        "version": daemon.version,
        "transport": daemon.transport,
        "state": daemon.state,
        "driver_version": daemon.driver_version or None,
        "requests": {
            operation_name(number): count for number, count in daemon.requests.items()
        },
        "last_request": last and {"operation": operation_name(last[0]), "time": int(last[1])},
        "failures": {
            operation_name(number): count for number, count in daemon.failures.items()
        },
        "statuses": {status_name(code): count for code, count in daemon.statuses.items()},
        "failing": [operation_name(number) for number in daemon.failing],
        "last_failure": failure
        and {
            "operation": operation_name(failure.operation),
            "time": int(failure.time),
            "status": status_name(failure.status),
            "reason": failure.text or None,
        },
        "dropped": daemon.dropped,
        "pool_dir": daemon.pool_dir,
    }


def _trouble(daemon: DaemonStatus) -> str:
    """Return why a daemon that says that it serves does not, or nothing."""
    if stall := find_stall(daemon.pid):
        return stall.text
    seconds = daemon.overdue
    return f"has been handling one request for {seconds} s" if seconds else ""


def _observed(daemon: DaemonStatus) -> dict[str, Any]:
    """Return facts about its process and pools; None where only root may read them."""
    import psutil  # noqa: PLC0415 - as above

    process = psutil.Process(daemon.pid)
    facts: dict[str, Any] = {
        "pid": daemon.pid,
        "since": int(process.create_time()),
        "resident_bytes": process.memory_info().rss,
        "private_bytes": None,
        "descriptors": None,
    }
    try:
        facts["private_bytes"] = process.memory_full_info().uss
        facts["descriptors"] = process.num_fds()
    except psutil.AccessDenied:
        # Another user's process: both stay unknown.
        facts["descriptors"] = None
    counts = PoolDirectory(daemon.pool_dir, report=terminal.say).counts()
    facts["records"] = {
        POOL_NAMES[number]: count
        for number, count in enumerate(counts)
        if number != KVP_POOL_AUTO
    }
    return facts


def page(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each line about a running daemon."""
    mark = terminal.paint("serving", terminal.GREEN)
    if not facts["serving"]:
        mark = terminal.paint("not serving", terminal.RED)
    elif facts["failing"]:
        kinds = ", ".join(facts["failing"])
        mark = terminal.paint(f"serving, but the last {kinds} failed", terminal.RED)
    trouble = f" ({facts['trouble']})" if facts["trouble"] else ""
    yield "Daemon", f"{mark}{trouble}, hv-kvp-daemon {facts['version']}"
    yield "Process", f"pid {facts['pid']}, since {_moment(facts['since'])}"
    yield "Memory", _memory(facts)
    yield "Transport", f"{facts['transport']}: {terminal.safe(facts['state'])}"
    version = facts["driver_version"]
    if facts["transport"] == "loopback":
        yield "Driver", f"simulated, version {version}" if version else "simulated, none now"
    else:
        yield "Driver", f"version {version}" if version else "has not answered"
    kinds = _counted(facts["requests"])
    dropped = f"; {facts['dropped']} messages dropped" if facts["dropped"] else ""
    yield "Requests", f"{kinds or 'none yet'}{dropped}"
    if facts["last_request"]:
        last = facts["last_request"]
        yield "Last request", f"{last['operation']}, {_moment(last['time'])}"
    if facts["last_failure"]:
        statuses = ", ".join(f"{count} x {name}" for name, count in facts["statuses"].items())
        yield "Failures", f"{_counted(facts['failures'])} ({statuses})"
        last = facts["last_failure"]
        reason = f": {last['reason']}" if last["reason"] else ""
        yield (
            "Last failure",
            (f"{last['operation']}, {_moment(last['time'])}, {last['status']}{reason}"),
        )
    yield "Pools", terminal.safe(facts["pool_dir"])
    yield (
        "Records",
        ", ".join(
            f"{name} {'unusable' if count is None else count}"
            for name, count in facts["records"].items()
        ),
    )


def _counted(kinds: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in kinds.items())


def _memory(facts: dict[str, Any]) -> str:
    resident = f"{facts['resident_bytes'] / _MIB:.1f} MiB resident"
    if facts["private_bytes"] is None:
        return f"{resident}; root sees more"
    private = f"{facts['private_bytes'] / _MIB:.1f} MiB of it private"
    return f"{resident}, {private}; {facts['descriptors']} descriptors"


def _moment(when: int) -> str:
    """Return a time, and its age."""
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(when))} ({terminal.ago(when)})"


STATUS = Command(
    "status", "show whether the daemon serves, and its requests", _add_arguments, _status
)
