"""``make demo``: the daemon serves a simulated Hyper-V host, and a person can watch.

A real daemon process, its pools and its socket live in a temporary directory;
no root, no driver, no Hyper-V.  Each exchange is written as one line and
compared with what it should have been: the exit status is 0 if all were as
expected, 1 with one line on standard error if not, and 128 plus the signal's
number after a signal.  Daemon and directory are gone in each case.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_ERROR_NOT_SUPPORTED,
    HV_S_CONT,
    KVP_POOL_AUTO,
    KVP_POOL_EXTERNAL,
    KVP_POOL_GUEST,
    REG_U32,
    REG_U64,
)

from . import transcript
from .conversation import Conversation, UnexpectedError, check
from .daemon_process import DaemonProcess
from .driver import VERSION, Driver
from .errors import HostError
from .simulated_host import SimulatedHost

if TYPE_CHECKING:
    from collections.abc import Callable

# include/uapi/linux/hyperv.h, comment above struct hv_kvp_msg: the auto pool's
# keys in the order of their index.
INTRINSIC: Final = (
    "FullyQualifiedDomainName",
    "IntegrationServicesVersion",
    "NetworkAddressIPv4",
    "NetworkAddressIPv6",
    "OSBuildNumber",
    "OSName",
    "OSMajorVersion",
    "OSMinorVersion",
    "OSVersion",
    "ProcessorArchitecture",
)

#: Msvm_KvpExchangeDataItem's Source, the property that lists such items, and the
#: pool that they are in.  A real host keeps the last of them itself.
LISTINGS: Final = (
    (2, "GuestIntrinsicExchangeItems", KVP_POOL_AUTO),
    (1, "GuestExchangeItems", KVP_POOL_GUEST),
    (0, "HostExchangeItems", KVP_POOL_EXTERNAL),
)

# Seconds for each reply.  A host waits 30, a person who watches does not.
_PATIENCE: Final = 5.0

_NO_SUCH_OPERATION: Final = 99
_NO_SUCH_POOL: Final = 77

# Beyond the Basic Multilingual Plane: two UTF-16 units, four bytes of UTF-8 each.
_BEYOND_BMP: Final = "na\u00efve \U0001d11e \U0001f427"


def hold(host: SimulatedHost, directory: str, write: Callable[[str], None]) -> None:
    """Hold the whole conversation; the guest's pools are in the directory.

    :raises UnexpectedError: an answer was not the expected one.
    """
    talk = Conversation(host, write)
    guest = {
        number: PoolFile(number, pool_path(directory, number), report=write)
        for number in (KVP_POOL_EXTERNAL, KVP_POOL_GUEST)
    }
    try:
        _host_writes(talk, guest[KVP_POOL_EXTERNAL], write)
        _host_reads_the_guest(talk, write)
        _guest_writes(talk, guest[KVP_POOL_GUEST], write)
        _host_changes(talk, guest[KVP_POOL_EXTERNAL], write)
        _host_asks_amiss(talk, write)
    finally:
        for pool in guest.values():
            pool.close()
    _show_listings(host, write)


def _host_writes(talk: Conversation, pool: PoolFile, write: Callable[[str], None]) -> None:
    write("\nThe host writes a text, a number, and characters beyond the BMP.")
    talk.set(KVP_POOL_EXTERNAL, "demo.text", "Hello, guest")
    talk.set(KVP_POOL_EXTERNAL, "demo.count", 42, REG_U32)
    talk.set(KVP_POOL_EXTERNAL, "demo.unicode", _BEYOND_BMP)
    talk.get(KVP_POOL_EXTERNAL, "demo.count", "42")
    talk.get(KVP_POOL_EXTERNAL, "demo.unicode", _BEYOND_BMP)
    found = {record.key.decode(): record.value.decode() for record in pool.records()}
    written = {"demo.text": "Hello, guest", "demo.count": "42", "demo.unicode": _BEYOND_BMP}
    check("what a program of the guest finds in .kvp_pool_0", found, written)
    write(f"A program of the guest finds these {len(found)} records in .kvp_pool_0.")


def _host_reads_the_guest(talk: Conversation, write: Callable[[str], None]) -> None:
    write("\nThe host asks what the guest tells of itself.")
    values = {
        key: talk.enumerate(KVP_POOL_AUTO, index, key) for index, key in enumerate(INTRINSIC)
    }
    talk.enumerate(KVP_POOL_AUTO, len(INTRINSIC), None)
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


def _guest_writes(talk: Conversation, pool: PoolFile, write: Callable[[str], None]) -> None:
    written = {"guest.state": "ready", "guest.users": "3"}
    for key, value in written.items():
        pool.append(key.encode(), value.encode())
    write(f"\nA program of the guest appends {len(written)} records to .kvp_pool_1.")
    for index, (key, value) in enumerate(written.items()):
        check(key, talk.enumerate(KVP_POOL_GUEST, index, key), value)
    talk.enumerate(KVP_POOL_GUEST, len(written), None)


def _host_changes(talk: Conversation, pool: PoolFile, write: Callable[[str], None]) -> None:
    write("\nThe host changes one record, deletes another, and reads again.")
    talk.set(KVP_POOL_EXTERNAL, "demo.count", 1 << 40, REG_U64)
    talk.get(KVP_POOL_EXTERNAL, "demo.count", str(1 << 40))
    talk.delete(KVP_POOL_EXTERNAL, "demo.text")
    talk.get(KVP_POOL_EXTERNAL, "demo.text", None)
    for index, key in enumerate(("demo.count", "demo.unicode")):
        talk.enumerate(KVP_POOL_EXTERNAL, index, key)
    talk.enumerate(KVP_POOL_EXTERNAL, 2, None)
    check("records in .kvp_pool_0", pool.count(), 2)


def _host_asks_amiss(talk: Conversation, write: Callable[[str], None]) -> None:
    write("\nThe host asks for what is not there, and for what it may not do.")
    talk.get(KVP_POOL_EXTERNAL, "no.such.key", None)
    talk.delete(KVP_POOL_EXTERNAL, "no.such.key", expected=HV_S_CONT)
    talk.enumerate(_NO_SUCH_POOL, 0, None)
    talk.set(_NO_SUCH_POOL, "demo.text", "lost", expected=HV_E_FAIL)
    talk.set(KVP_POOL_AUTO, "OSName", "another", expected=HV_E_FAIL)
    talk.ask(_NO_SUCH_OPERATION, KVP_POOL_EXTERNAL, expected=HV_ERROR_NOT_SUPPORTED)


def _show_listings(host: SimulatedHost, write: Callable[[str], None]) -> None:
    write("\nWhat a Windows administrator sees (Msvm_KvpExchangeDataItem):")
    for source, name, pool in LISTINGS:
        items = list(host.items(pool))
        write(f"\n{name} (pool {pool}, {transcript.pool_name(pool)})")
        for line in transcript.table(source, items):
            write(line.rstrip())


def run(write: Callable[[str], None]) -> None:
    """Start the daemon, hold the conversation, end the daemon, remove everything.

    :raises UnexpectedError: something was not as it should be.
    """
    with tempfile.TemporaryDirectory(prefix="hv-kvp-demo-") as directory:
        path, pools = f"{directory}/host", f"{directory}/pools"
        options = ("-n", "--transport", f"loopback:{path}", "--pool-dir", pools)
        with DaemonProcess(*options) as daemon:
            write(f"$ DIR={directory}")
            write(f"$ hv-kvp-daemon {' '.join(options).replace(directory, '$DIR')} &")
            write("\n" + transcript.heading())
            try:
                with SimulatedHost(Driver(path, _PATIENCE)) as host:
                    hold(host, pools, write)
            except HostError as error:
                raise UnexpectedError(f"{error} ({daemon.last_words})") from error
            check("exit status of the daemon after SIGTERM", daemon.stop(), 0)


def main() -> int:
    """The exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, _end)
    # A value may hold what this terminal's encoding has no byte for.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a text file
    started = time.perf_counter()
    try:
        run(_write)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # What is still buffered would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        print("demo: nobody reads its output any more", file=sys.stderr)
        return 1
    except (UnexpectedError, HostError, PoolError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    _write(f"\nAll as expected, in {time.perf_counter() - started:.2f} s.")
    return 0


def _write(line: str) -> None:
    print(line, flush=True)


def _end(number: int, frame: object) -> None:
    """End by an exception, so that the daemon and the directory go, too."""
    del frame
    raise SystemExit(128 + number)


if __name__ == "__main__":
    raise SystemExit(main())
