# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The power goes at every write of the guest's disk, and at any moment: nothing is lost.

In the VM a host changes a pool on an ext4 disk (`scenarios/pools_disk.py`); the disk
itself says how many changes had been acknowledged.  A disk is looked at as after a
restart: mounted, which replays the file system's journal, and the pool opened.
"""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import threading
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools.pool import PoolFile
from tests.driver import machine
from tests.driver.scenarios import pools_disk
from tests.soak import writelog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.driver.scenarios.pools_disk import Pairs

KILLS = 20
COUNT_AT = pools_disk.COUNT_AT
#: Writes of the log that are looked at; each costs about 50 ms.
MOST_WRITES = 1500


@pytest.fixture(scope="module", autouse=True)
def lab() -> None:
    machine.build()


@pytest.fixture
def work() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="hv-kvp-power-", dir="/dev/shm") as directory:
        yield directory


def new_disk(path: str) -> None:
    with open(path, "wb") as file:
        file.truncate(pools_disk.DISK_MIB << 20)
    pools_disk.make_file_system(path)


def changes_until_killed(drive: str, seconds: float) -> None:
    """Boot a VM on a disk, let it change pools for some seconds, and kill it."""
    (scenario,) = machine.read_scenario("pools_disk")
    scenario = replace(scenario, environment={"UNTIL_KILLED": "1"})
    with tempfile.TemporaryDirectory(prefix="hv-kvp-vm-") as directory:
        payload = os.path.join(directory, "payload")
        machine.pack(scenario, payload)
        vm = subprocess.Popen(
            [*machine.VM_COMMAND, payload, "600"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "TMPDIR": directory, "QEMU_EXTRA": drive},
            start_new_session=True,
        )
        with vm:
            console = []
            try:
                assert vm.stdout is not None
                for line in vm.stdout:
                    console.append(line)
                    if line == "serving\n":
                        break
                else:
                    pytest.fail("".join(console))
                threading.Event().wait(seconds)
                assert vm.poll() is None
            finally:
                machine.stop(vm)


def problem(disk: str, directory: str) -> str:
    """Restart with this disk; what is wrong with its pool, or nothing."""
    count = pools_disk.acknowledged(disk)
    allowed = list(islice(pools_disk.states(), count, count + 2))
    mount = os.path.join(directory, "mount")
    os.makedirs(mount, exist_ok=True)
    subprocess.run(["mount", "-o", "loop", disk, mount], check=True)
    try:
        found = pairs(os.path.join(mount, "pools", ".kvp_pool_1"))
    finally:
        subprocess.run(["umount", mount], check=True)
    if found in allowed:
        return ""
    return f"{count} changes acknowledged, and not their pairs but {[k for k, _ in found]}"


def pairs(path: str) -> Pairs:
    if not os.path.exists(path):
        return []
    pool = PoolFile(1, path, report=lambda _: None, sync=False)
    try:
        return [(r.key.decode(), r.value.decode()) for r in pool.records()]
    finally:
        pool.close()


def test_at_every_write(
    work: str, count: Callable[..., None], tell: Callable[[str], None]
) -> None:
    disk, log = os.path.join(work, "disk"), os.path.join(work, "log")
    new_disk(disk)
    before = os.path.join(work, "before")
    copy(disk, before)
    with open(log, "wb") as file:
        file.truncate(1 << 20)
    changes_until_killed(
        f"-blockdev driver=file,filename={disk},node-name=disk-file"
        f" -blockdev driver=file,filename={log},node-name=log-file"
        " -blockdev driver=raw,file=disk-file,node-name=disk"
        " -blockdev driver=raw,file=log-file,node-name=log"
        " -blockdev driver=blklogwrites,file=disk,log=log,node-name=logged,"
        "log-super-update-interval=1"
        " -device virtio-blk-pci,drive=logged",
        seconds=40,
    )
    chance = random.Random(1)
    image, trial = os.path.join(work, "image"), os.path.join(work, "trial")
    copy(before, image)
    since: list[writelog.Write] = []
    flushes = looked = 0
    for number, write in enumerate(writelog.read(log)):
        if looked >= MOST_WRITES:
            break
        if write.flushes:
            # Between two flushes the disk may have done any of the writes.
            flushes += 1
            for _ in range(2 if len(since) > 1 else 0):
                copy(image, trial)
                # The count is of what had been flushed when it was written.
                put(
                    trial,
                    [w for w in since if w.offset == COUNT_AT or chance.random() < 0.5],
                )
                wrong = problem(trial, work)
                count("power cuts, any writes between flushes", points=1, broken=bool(wrong))
                assert not wrong, (number, wrong)
            put(image, since)
            since = []
        since.append(write)
        copy(image, trial)
        put(trial, since)
        wrong = problem(trial, work)
        looked += 1
        count("power cuts, after each write", points=1, broken=bool(wrong))
        assert not wrong, (number, wrong)
    acknowledged = pools_disk.acknowledged(trial)
    assert acknowledged > 20
    tell(f"power: {looked} writes and {flushes} flushes of {acknowledged} changes")


def test_the_machine_is_killed_at_any_moment(
    work: str, count: Callable[..., None], tell: Callable[[str], None]
) -> None:
    chance = random.Random(2)
    total = 0
    for _ in range(KILLS):
        disk = os.path.join(work, "disk")
        new_disk(disk)
        drive = f"-drive file={disk},if=virtio,format=raw"
        changes_until_killed(drive, seconds=1 + 6 * chance.random())
        total += pools_disk.acknowledged(disk)
        wrong = problem(disk, work)
        count("kills of the machine", points=1, broken=bool(wrong))
        assert not wrong
    assert total > KILLS
    tell(f"kills of the machine: after {total} acknowledged changes in all")


def copy(source: str, target: str) -> None:
    # A new file each time: of one that a loop device has not let go of yet, which it does
    # some time after umount, the next mount would see the blocks that are in that cache.
    if os.path.exists(target):
        os.unlink(target)
    subprocess.run(["cp", "--sparse=always", source, target], check=True)


def put(disk: str, writes: list[writelog.Write]) -> None:
    with open(disk, "r+b") as file:
        for write in writes:
            file.seek(write.offset)
            file.write(write.data)
