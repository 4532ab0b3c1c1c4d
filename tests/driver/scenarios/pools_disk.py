# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Pools on a disk: a change that was acknowledged to the host survives a power cut.

After each acknowledged change, a count is written to the disk behind the file system, with
direct I/O.  So every copy of the disk has the number of changes that had been acknowledged
when it was made (`acknowledged`).

Here the disk of the running system is copied now and then.  ``tests/soak/test_power.py``
runs `serve_until_killed` and examines the disk after every write.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import subprocess
from collections.abc import Iterator

from tests.driver import guest
from tests.driver.guest import wait_for
from tests.driver.lab.hvhost import GUEST, S_OK, Host

DISK_MIB = 64
SECONDS = 240
CHECK_SECONDS = 150

DISK = "/dev/vda"
FILE_SYSTEM_MIB = 48
COUNT_AT = 56 << 20
BLOCK = 4096
MOUNT = "/mnt"
POOLS = f"{MOUNT}/pools"

Pairs = list[tuple[str, str]]


def make_file_system(path: str) -> None:
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", str(BLOCK), "-J", "size=4"]
    now = ["-E", "lazy_itable_init=0,lazy_journal_init=0"]
    subprocess.run([*command, *now, path, f"{FILE_SYSTEM_MIB}M"], check=True)


def step(number: int) -> tuple[str, str]:
    """The key and the value of a change; an empty value means that the key is deleted.

    At each seventh number another program appends the record.
    """
    key = f"key {number * 7 % 31}"
    if number % 6 == 5:
        return f"key {number * 5 % 31}", ""
    if is_append(number):
        # The next one sets the key that is there twice then.
        key = f"key {(number + 1) * 7 % 31}"
    letter = chr(ord("a") + number % 26)
    # Two bytes for each character, so that values span sectors and pages.
    return key, letter + "ä" * (number * 37 % 1000)


def is_append(number: int) -> bool:
    return number % 7 == 3 and number % 6 != 5


def states() -> Iterator[Pairs]:
    """The pairs of the pool after no change, after one, after two, and so on."""
    pairs: Pairs = []
    number = 0
    while True:
        yield pairs
        key, value = step(number)
        keys = [k for k, _ in pairs]
        if not value:
            pairs = [(k, v) for k, v in pairs if k != key]
        elif key in keys and not is_append(number):
            first = keys.index(key)
            others = [(k, v) for k, v in pairs[first + 1 :] if k != key]
            pairs = [*pairs[:first], (key, value), *others]
        else:
            pairs = [*pairs, (key, value)]
        number += 1


def acknowledged(disk: str) -> int:
    """The number of changes that had been acknowledged when the disk was in this state."""
    with open(disk, "rb") as file:
        file.seek(COUNT_AT)
        return int.from_bytes(file.read(8), "little")


def setup() -> None:
    for module in ("virtio_pci", "virtio_blk"):
        subprocess.run(["modprobe", module], check=True)
    wait_for("the disk", lambda: os.path.exists(DISK))
    if subprocess.run(["dumpe2fs", "-h", DISK], check=False, capture_output=True).returncode:
        make_file_system(DISK)
    subprocess.run(["mount", DISK, MOUNT], check=True)


class Changes:
    """A daemon with its pools on the disk, and a host that changes them."""

    def __init__(self) -> None:
        self._daemon = guest.daemon("-n", "--transport", "chardev", "--pool-dir", POOLS)
        wait_for("registration", lambda: "driver version" in self._daemon.stderr)
        self._host = Host(watch=self._daemon.must_run)
        assert self._host.negotiate() == S_OK
        # Direct I/O needs a buffer that begins at a page.
        self._block = mmap.mmap(-1, BLOCK)
        self._disk = os.open(DISK, os.O_WRONLY | os.O_DIRECT)
        self.number = 0

    def make_one(self) -> None:
        key, value = step(self.number)
        if is_append(self.number):
            append(key, value)
        elif value:
            assert self._host.set(GUEST, key, value) == S_OK
        else:
            self._host.delete(GUEST, key)
        self.number += 1
        self._block[:8] = self.number.to_bytes(8, "little")
        os.pwritev(self._disk, [self._block], COUNT_AT)


def append(key: str, value: str) -> None:
    """Append a record as another program does, under one of the locks, and wait for it."""
    record = key.encode().ljust(512, b"\0") + value.encode().ljust(2048, b"\0")
    with open(f"{POOLS}/.kvp_pool_{GUEST}", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(record)
        file.flush()
        os.fsync(file.fileno())


def serve_until_killed() -> None:
    changes = Changes()
    print("serving", flush=True)
    while True:
        changes.make_one()


def check_an_acknowledged_change_is_on_the_disk_at_once() -> None:
    if os.environ.get("UNTIL_KILLED"):
        serve_until_killed()
    changes = Changes()
    expected = states()
    state = next(expected)
    for number in range(1, 121):
        changes.make_one()
        state = next(expected)
        if number % 12 == 0:
            assert on_disk() == state, number
    assert acknowledged(DISK) == 120


def on_disk() -> Pairs:
    """The pool in a copy of the disk, after its file system's journal was replayed."""
    copy, pool = "/tmp/copy", "/tmp/copied_pool"
    direct = ["dd", f"if={DISK}", f"of={copy}", "iflag=direct", "bs=1M", "status=none"]
    subprocess.run(direct, check=True)
    # 1: errors were corrected, such as a journal that was not empty.
    checked = subprocess.run(["e2fsck", "-fy", copy], check=False, capture_output=True)
    assert checked.returncode in {0, 1}, checked.stdout
    dump = f"dump /pools/.kvp_pool_1 {pool}"
    subprocess.run(["debugfs", "-R", dump, copy], check=True, capture_output=True)
    return guest.records(pool)
