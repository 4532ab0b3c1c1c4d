# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The requests of a host to a daemon, over each transport.

All VARIANTS run the same checks.  The pools are compared on disk, too, since the host's
view and the file are two promises.
"""

from __future__ import annotations

import fcntl
import os
import platform
import signal
import struct

from tests.driver import guest
from tests.driver.guest import contents, pool, wait_for
from tests.driver.lab.hvhost import (
    AUTO,
    AUTO_KEYS,
    DELETE,
    E_FAIL,
    ENUMERATE,
    EXTERNAL,
    GET,
    GUEST,
    NOT_SUPPORTED,
    REG_U32,
    REG_U64,
    S_CONT,
    S_OK,
    SET,
    Host,
    key_body,
    value_body,
    wide,
)
from tests.driver.variant import fresh, start

VARIANTS = {
    "netlink": {"TRANSPORT": "netlink"},
    "chardev": {"TRANSPORT": "chardev"},
    "auto": {"TRANSPORT": "auto"},
}
SECONDS = 240


def record(key: bytes, value: bytes) -> bytes:
    return key.ljust(512, b"\0") + value.ljust(2048, b"\0")


def check_the_ten_auto_keys_have_the_c_daemons_values() -> None:
    c_daemon = guest.c_daemon()
    with Host(watch=c_daemon.must_run) as host:
        assert host.negotiate() == S_OK
        theirs = list(host.items(AUTO))
    c_daemon.stop()
    daemon, host = fresh()
    # Until the look-up of the full name has ended, the host name is served.
    wait_for("the full name", lambda: host.enumerate(AUTO, 0)[2] == "kvp-guest.example.com")
    ours = list(host.items(AUTO))
    assert [key for key, _ in ours] == AUTO_KEYS
    assert ours == theirs, (ours, theirs)
    assert dict(ours)["IntegrationServicesVersion"] == "3.1"
    assert dict(ours)["OSBuildNumber"] == platform.release()
    for key, value in ours:
        assert host.get(AUTO, key) == (S_OK, value), key
    host.close()
    assert daemon.stop() == 0


def check_every_kind_of_value_is_stored_and_returned() -> None:
    daemon, host = fresh()
    longest_key, longest_value = "k" * 254, "v" * 1022
    pairs = [
        ("text", "välue"),
        ("empty", ""),
        ("non-BMP \U0001f511", "\U0001f512" * 100),
        (longest_key, longest_value),
        ("u32", "4294967295"),
        ("u64", "18446744073709551615"),
    ]
    for key, value in pairs[:4]:
        assert host.set(EXTERNAL, key, value) == S_OK, key
    assert host.set(EXTERNAL, "u32", 2**32 - 1, REG_U32) == S_OK
    assert host.set(EXTERNAL, "u64", 2**64 - 1, REG_U64) == S_OK
    assert list(host.items(EXTERNAL)) == pairs
    assert guest.records(pool(EXTERNAL)) == pairs
    for key, value in pairs:
        assert host.get(EXTERNAL, key) == (S_OK, value), key
    assert host.get(EXTERNAL, "absent")[0] == S_CONT
    assert host.set(EXTERNAL, "text", "x") == S_OK
    assert host.delete(EXTERNAL, "empty") == S_OK
    assert host.delete(EXTERNAL, "empty") == S_CONT
    assert list(host.items(EXTERNAL)) == [("text", "x"), *pairs[2:]]
    # P3: no byte of the longer value is left after the shorter one.
    with open(pool(EXTERNAL), "rb") as file:
        first = file.read(2560)
    assert first == b"text".ljust(512, b"\0") + b"x".ljust(2048, b"\0")
    host.close()
    assert daemon.stop() == 0


def check_120_records_are_enumerated_to_the_end() -> None:
    daemon, host = fresh()
    pairs = [(f"key {number}", f"value {number}") for number in range(120)]
    with open(pool(GUEST), "ab") as file:
        file.writelines(record(key.encode(), value.encode()) for key, value in pairs[:60])
    for key, value in pairs[60:]:
        assert host.set(GUEST, key, value) == S_OK
    assert list(host.items(GUEST)) == pairs
    assert host.enumerate(GUEST, 120)[0] == S_CONT
    host.close()
    assert daemon.stop() == 0


def check_a_kill_loses_no_record_and_the_version_is_learned_again() -> None:
    daemon, host = fresh()
    assert host.set(EXTERNAL, "kept", "through kill -9") == S_OK
    for _ in range(3):
        daemon.stop(signal.SIGKILL)
        daemon = start()
        host = Host(watch=daemon.must_run)
        assert host.negotiate() == S_OK
        assert host.get(EXTERNAL, "kept") == (S_OK, "through kill -9")
        assert dict(host.items(AUTO))["IntegrationServicesVersion"] == "3.1"
    host.close()
    assert daemon.stop() == 0


def check_a_hostile_hosts_requests_end_nothing_and_change_nothing() -> None:
    """T12, T13, T14: unknown operations, pools above 4, indexes above 2^31."""
    daemon, host = fresh()
    assert host.set(GUEST, "kept", "value") == S_OK
    before = contents()
    for number in (5, 77, 255):
        assert host.enumerate(number, 0)[0] == S_CONT
        assert host.set(number, "k", "v") == E_FAIL
        assert host.delete(number, "k") == E_FAIL
        assert host.get(number, "k")[0] == E_FAIL
    for number in (0, 1, 2, 3, 4):
        for index in (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            assert host.enumerate(number, index)[0] == S_CONT
    for operation in (6, 99, 100, 255):
        assert host.kvp(operation, GUEST)[0] == NOT_SUPPORTED, operation
    assert host.set(AUTO, "k", "v") == E_FAIL
    assert host.delete(AUTO, "OSName") == E_FAIL
    key = wide("kept")
    for kind in (0, 2, 3, 7, 0xFFFFFFFF):
        assert host.kvp(SET, GUEST, value_body(key, wide("x"), kind=kind))[0] == E_FAIL
    for operation in (SET, GET):
        assert host.kvp(operation, GUEST, value_body(wide(""), wide("x")))[0] == E_FAIL
    assert host.kvp(DELETE, GUEST, key_body(wide("")))[0] == E_FAIL
    assert host.kvp(ENUMERATE, GUEST, struct.pack("<I", 0))[0] == S_OK
    assert contents() == before
    host.close()
    assert daemon.stop() == 0


def check_what_another_program_writes_is_served_at_once() -> None:
    """Also within one tick of the kernel's clock, when most writes leave the same mtime.

    So the other program writes right after the daemon's own change, and right after reads
    that the daemon could cache.
    """
    daemon, host = fresh()
    assert host.set(GUEST, "first", "of the host") == S_OK
    assert host.set(GUEST, "second", "of the host") == S_OK
    with open(pool(GUEST), "r+b", buffering=0) as file:

        def write(number: int, key: str, value: str) -> None:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(number * 2560)
            file.write(record(key.encode(), value.encode()))
            fcntl.flock(file, fcntl.LOCK_UN)

        for turn in range(100):
            if turn % 2:
                assert host.set(GUEST, "first", f"host {turn}") == S_OK
                assert host.enumerate(GUEST, 0) == (S_OK, "first", f"host {turn}")
            for again in range(3):
                write(0, "first", f"neighbour {turn}.{again}")
                for _ in range(2):
                    told = host.enumerate(GUEST, 0)
                    assert told == (S_OK, "first", f"neighbour {turn}.{again}")
            write(1, f"key {turn}", "neighbour")
            assert host.get(GUEST, f"key {turn}") == (S_OK, "neighbour")
            if turn % 3 == 0:
                os.truncate(pool(GUEST), 2560)
                assert host.enumerate(GUEST, 1)[0] == S_CONT
                write(1, "second", "again")
            assert host.enumerate(GUEST, 2)[0] == S_CONT
    host.close()
    assert daemon.stop() == 0


def check_an_invalid_record_hides_no_later_one() -> None:
    """P24, and a field without a NUL, which is a kernel BUG with the C daemon."""
    daemon, host = fresh()
    with open(pool(GUEST), "ab") as file:
        file.write(b"k" * 512 + b"v" * 2048)
        file.write(b"caf\xe9".ljust(512, b"\0") + b"\xff\xfe".ljust(2048, b"\0"))
        file.write(b"tail\0garbage".ljust(512, b"\xff") + b"x\0garbage".ljust(2048, b"\xff"))
        file.write(b"last".ljust(512, b"\0") + b"seen".ljust(2048, b"\0"))
    assert list(host.items(GUEST)) == [
        ("k" * 254, "v" * 1022),
        ("caf\N{REPLACEMENT CHARACTER}", "\N{REPLACEMENT CHARACTER}" * 2),
        ("tail", "x"),
        ("last", "seen"),
    ]
    host.close()
    assert daemon.stop() == 0


def check_a_thousand_requests_leak_no_descriptor() -> None:
    """P1."""
    daemon, host = fresh()
    # The look-up of the name is a child with a pipe.
    wait_for("the full name", lambda: "." in host.enumerate(AUTO, 0)[2])
    host.set(GUEST, "key", "value")
    before = guest.open_files(daemon.pid)
    for number in range(250):
        host.set(GUEST, "key", f"value {number}")
        host.enumerate(GUEST, 0)
        host.enumerate(AUTO, number % 11)
        host.get(GUEST, "key")
    assert guest.open_files(daemon.pid) == before
    host.close()
    assert daemon.stop() == 0
