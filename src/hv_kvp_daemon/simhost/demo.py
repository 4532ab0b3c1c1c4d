# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``make demo``: a daemon that serves a simulated Hyper-V host, for a person to watch.

The daemon is a real process; its pools and its socket are in a temporary directory.  No
root, driver or Hyper-V is needed.  Each exchange is written as one line and compared with
what is expected.  The exit status is 0 if all went as expected, 1 with one line on standard
error if not, and 128 plus the signal's number after a signal.  Daemon and directory are
removed in each case.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Final

from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.wire import uapi

from . import transcript
from .daemon_process import DaemonProcess
from .errors import HostError
from .exchange import Exchange, delete_key, enumerate_index, get_key, set_key
from .simulated_driver import VERSION, SimulatedDriver
from .simulated_host import SimulatedHost

#: For each list of Msvm_KvpExchangeDataItem: the Source of its items, its name, and the
#: pool with the items.  A real host keeps the last list itself.
LISTINGS: Final = (
    (2, "GuestIntrinsicExchangeItems", uapi.KVP_POOL_AUTO),
    (1, "GuestExchangeItems", uapi.KVP_POOL_GUEST),
    (0, "HostExchangeItems", uapi.KVP_POOL_EXTERNAL),
)

_UNKNOWN_OPERATION: Final = 99
_UNKNOWN_POOL: Final = 77

# Beyond the Basic Multilingual Plane: two UTF-16 units, four bytes of UTF-8 each.
_BEYOND_BMP: Final = "na\u00efve \U0001d11e \U0001f427"


class UnexpectedError(Exception):
    """Something is not as expected; the text says what, and both values."""


class Demo:
    """A host whose exchanges are written down and compared with what is expected."""

    def __init__(self, host: SimulatedHost) -> None:
        self.host = host

    def expect(self, expected: str, request: Callable[..., Exchange], *args: str | int) -> str:
        """Make a request, as `exchange` has them, and return the value that came.

        :raises UnexpectedError: the answer is not as `Exchange.mismatch` expects it.
        """
        started = time.perf_counter()
        exchange = request(self.host, *args)
        _write(transcript.line(exchange, time.perf_counter() - started))
        if mismatch := exchange.mismatch(expected):
            operation = transcript.operation_name(exchange.operation)
            pool = transcript.pool_name(exchange.pool)
            raise UnexpectedError(f"{operation} {pool} {exchange.subject}: {mismatch}")
        return exchange.value

    def hold(self, directory: str) -> None:
        """Hold the whole conversation; the guest's pools are in the directory.

        :raises UnexpectedError: an answer is not as expected.
        """
        external, guest = (
            PoolFile(number, pool_path(directory, number), report=_write)
            for number in (uapi.KVP_POOL_EXTERNAL, uapi.KVP_POOL_GUEST)
        )
        try:
            self._host_writes(external)
            self._host_reads_the_guest()
            self._guest_writes(guest)
            self._host_changes(external)
            self._host_asks_for_what_is_not_there()
        finally:
            external.close()
            guest.close()
        self._show_listings()

    def _host_writes(self, pool: PoolFile) -> None:
        _write("\nThe host writes a text, a number, and characters beyond the BMP.")
        external = uapi.KVP_POOL_EXTERNAL
        self.expect("HV_S_OK", set_key, external, "demo.text", "Hello, guest")
        self.expect("HV_S_OK", set_key, external, "demo.count", 42, uapi.REG_U32)
        self.expect("HV_S_OK", set_key, external, "demo.unicode", _BEYOND_BMP)
        self.expect("42", get_key, external, "demo.count")
        self.expect(_BEYOND_BMP, get_key, external, "demo.unicode")
        found = {record.key.decode(): record.value.decode() for record in pool.records()}
        check(
            "what a program of the guest finds in .kvp_pool_0",
            found,
            {"demo.text": "Hello, guest", "demo.count": "42", "demo.unicode": _BEYOND_BMP},
        )
        _write(f"A program of the guest finds these {len(found)} records in .kvp_pool_0.")

    def _host_reads_the_guest(self) -> None:
        _write("\nThe host asks for the facts about the guest.")
        keys = [key.decode() for key in uapi.KVP_AUTO_KEYS]
        values = {
            key: self.expect(key, enumerate_index, uapi.KVP_POOL_AUTO, index)
            for index, key in enumerate(keys)
        }
        self.expect("HV_S_CONT", enumerate_index, uapi.KVP_POOL_AUTO, len(keys))
        system = os.uname()
        known = {
            "IntegrationServicesVersion": VERSION.decode(),
            "OSBuildNumber": system.release,
            "OSVersion": system.release.partition("-")[0],
            "ProcessorArchitecture": system.machine,
        }
        for key, expected in known.items():
            check(key, values[key], expected)
        if not values["FullyQualifiedDomainName"]:
            raise UnexpectedError("FullyQualifiedDomainName: a name was expected, none came")

    def _guest_writes(self, pool: PoolFile) -> None:
        written = {"guest.state": "ready", "guest.users": "3"}
        for key, value in written.items():
            pool.append(key.encode(), value.encode())
        _write(f"\nA program of the guest appends {len(written)} records to .kvp_pool_1.")
        for index, (key, value) in enumerate(written.items()):
            check(key, self.expect(key, enumerate_index, uapi.KVP_POOL_GUEST, index), value)
        self.expect("HV_S_CONT", enumerate_index, uapi.KVP_POOL_GUEST, len(written))

    def _host_changes(self, pool: PoolFile) -> None:
        _write("\nThe host changes one record, deletes another, and reads again.")
        external = uapi.KVP_POOL_EXTERNAL
        self.expect("HV_S_OK", set_key, external, "demo.count", 1 << 40, uapi.REG_U64)
        self.expect(str(1 << 40), get_key, external, "demo.count")
        self.expect("HV_S_OK", delete_key, external, "demo.text")
        self.expect("HV_S_CONT", get_key, external, "demo.text")
        self.expect("demo.count", enumerate_index, external, 0)
        self.expect("demo.unicode", enumerate_index, external, 1)
        self.expect("HV_S_CONT", enumerate_index, external, 2)
        check("records in .kvp_pool_0", pool.count(), 2)

    def _host_asks_for_what_is_not_there(self) -> None:
        _write("\nThe host asks for what is not there or cannot be changed.")
        self.expect("HV_S_CONT", get_key, uapi.KVP_POOL_EXTERNAL, "no.such.key")
        self.expect("HV_S_CONT", delete_key, uapi.KVP_POOL_EXTERNAL, "no.such.key")
        self.expect("HV_S_CONT", enumerate_index, _UNKNOWN_POOL, 0)
        self.expect("HV_E_FAIL", set_key, _UNKNOWN_POOL, "demo.text", "lost")
        self.expect("HV_E_FAIL", set_key, uapi.KVP_POOL_AUTO, "OSName", "another")
        self.expect("HV_ERROR_NOT_SUPPORTED", _unknown_operation)

    def _show_listings(self) -> None:
        _write("\nWhat a Windows administrator sees (Msvm_KvpExchangeDataItem):")
        for source, name, pool in LISTINGS:
            items = list(self.host.items(pool))
            _write(f"\n{name} (pool {pool}, {transcript.pool_name(pool)})")
            for line in transcript.table(source, items):
                _write(line.rstrip())


def check(what: str, got: object, expected: object) -> None:
    """Compare two values.

    :raises UnexpectedError: they differ.
    """
    if got != expected:
        raise UnexpectedError(f"{what}: {expected!r} was expected, {got!r} came")


def _unknown_operation(host: SimulatedHost) -> Exchange:
    status, _ = host.kvp(_UNKNOWN_OPERATION, uapi.KVP_POOL_EXTERNAL)
    return Exchange(_UNKNOWN_OPERATION, uapi.KVP_POOL_EXTERNAL, "", status)


def run() -> None:
    """Start the daemon, hold the conversation, end the daemon, remove everything.

    :raises UnexpectedError: something is not as expected.
    """
    with tempfile.TemporaryDirectory(prefix="hv-kvp-demo-") as directory:
        path, pools = f"{directory}/host", f"{directory}/pools"
        options = ("-n", "--transport", f"loopback:{path}", "--pool-dir", pools)
        with DaemonProcess(*options) as daemon:
            _write(f"$ DIR={directory}")
            _write(f"$ hv-kvp-daemon {' '.join(options).replace(directory, '$DIR')} &")
            _write("\n" + transcript.heading())
            try:
                with SimulatedHost(SimulatedDriver(path)) as host:
                    Demo(host).hold(pools)
            except HostError as error:
                raise UnexpectedError(f"{error} ({daemon.last_words})") from error
            check("exit status of the daemon after SIGTERM", daemon.stop(), 0)


def main() -> int:
    """Run the demo and return the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(number, _end)
    # A value may hold what this terminal's encoding has no byte for.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a text file
    started = time.perf_counter()
    try:
        run()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # What is still buffered would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        print("demo: its output is not read any more", file=sys.stderr)
        return 1
    except (UnexpectedError, HostError, PoolError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    _write(f"\nAll as expected, in {time.perf_counter() - started:.2f} s.")
    return 0


def _write(line: str) -> None:
    print(line, flush=True)


def _end(number: int, frame: object) -> None:
    """End by an exception, so that the daemon and the directory are removed."""
    del frame
    raise SystemExit(128 + number)


if __name__ == "__main__":
    raise SystemExit(main())
