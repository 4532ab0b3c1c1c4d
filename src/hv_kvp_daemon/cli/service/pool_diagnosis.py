# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What is wrong with the pools: their directory, their files, and locks on them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hv_kvp_daemon.pools.place import OTHER_DIRECTORY

from .diagnosis import BAD, GOOD, Diagnosis, restart
from .unit_files import UNIT, other_directory_link

if TYPE_CHECKING:
    from .system_facts import Facts


def pools(facts: Facts) -> Iterator[Diagnosis]:
    """Yield what keeps the pools from being changed or seen, or where they are."""
    found = facts.pools
    if found.is_replaced:
        yield Diagnosis(
            BAD,
            f"{found.path} was removed or replaced while the daemon was running, which can no"
            " longer write there",
            restart(facts),
        )
    if found.read_only_mount:
        # The mounts of the unit's sandbox are copies, which stay read-only.
        again = f" && {restart(facts)}" if facts.daemon_unit == UNIT else ""
        yield Diagnosis(
            BAD,
            f"{found.path} is on a read-only file system",
            f"mount -o remount,rw {shlex.quote(found.read_only_mount)}{again}",
        )
    if found.space_left is not None:
        text = f"the disk with {found.path} is full: {found.space_left} bytes are left"
        yield Diagnosis(BAD, text)
    for path, finding in found.not_pools.items():
        name = shlex.quote(path)
        yield Diagnosis(BAD, finding, f"mv {name} {name}.old")
    for holder in found.lock_holders:
        who = f"{holder.name} (pid {holder.pid})" if holder.pid else "a process"
        yield Diagnosis(
            BAD,
            f"{who} holds a lock ({holder.lock}) on {holder.path}, so changes wait or fail",
            f"kill {holder.pid}" if holder.pid else "",
        )
    if found.others_dir is None or found.others_dir == found.path:
        if not (found.is_replaced or found.read_only_mount or found.path in found.not_pools):
            yield Diagnosis(GOOD, f"the pools are in {found.path}")
    else:
        records = ", which has records, too" if found.others_have_records else ""
        yield Diagnosis(
            BAD,
            f"the pools are in {found.path}, but cloud-init and others use"
            f" {OTHER_DIRECTORY}{records}: the host does not see their records, nor they the"
            " host's",
            _unite(found.path, records=found.others_have_records),
        )


def _unite(pool_dir: str, *, records: bool) -> str:
    """Return the command that makes the others' directory a link to the served one.

    Records of the guest's pool are copied, since the other programs write them.  Those in
    the host's pools come from an earlier daemon.
    """
    served = shlex.quote(pool_dir)
    take_over = (
        f"hv-kvp export guest --pool-dir {OTHER_DIRECTORY}"
        f" | hv-kvp import --merge --yes --pool-dir {served} && "
        if records
        else ""
    )
    return (
        f"{take_over}mv {OTHER_DIRECTORY} {OTHER_DIRECTORY}.old"
        f" && ln -s {shlex.quote(other_directory_link(pool_dir))} {OTHER_DIRECTORY}"
    )
