# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The owner of a netlink socket is found by the socket, not by its port id."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hv_kvp_daemon.transport.holders import group_inodes, named, port_holders, process_name
from tests.support.network import connector_socket


def test_a_port_id_that_is_the_pid_of_another_process_names_its_owner() -> None:
    """D9: the log blamed the process that had this pid."""
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as other:
        with connector_socket() as sock:
            sock.bind((other.pid, 0))
            owner = os.getpid(), process_name(os.getpid())
            assert port_holders(other.pid) == [owner]
            assert named(port_holders(other.pid)) == f"{owner[1]} (pid {owner[0]})"
        assert port_holders(other.pid) == []
        other.communicate()


@pytest.mark.parametrize("group", [0, 33])
def test_the_kernel_shows_32_groups(group: int) -> None:
    with pytest.raises(ValueError, match="shows 1 to 32"):
        group_inodes(group)


def test_a_process_that_has_ended_has_no_name() -> None:
    assert process_name(2**22 + 1) == "?"
