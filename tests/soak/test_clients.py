# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Programs that read what the host has set: their own code, on this daemon's pools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.wire.uapi import HV_S_OK, KVP_OP_DELETE, KVP_OP_SET
from tests.soak import tools
from tests.support.process import RunningDaemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# In the order in which Azure's hosts set them in pool 3 (`docs/operations.md` has them all).
PARAMETERS = {
    "HostName": "AMS073062908039",
    "HostingSystemEditionId": "168",
    "HostingSystemNestedLevel": "0",
    "HostingSystemOsMajor": "10",
    "PhysicalHostName": "AMS073062908039",
    "PhysicalHostNameFullyQualified": "AMS073062908039",
    "VirtualMachineId": "B9C2D8E5-8F4E-4A2C-9C57-2B0C3D6E1F7A",
    "VirtualMachineName": "büro-01",
}
HOST_PROVIDED, EXTERNAL = 3, 0


@pytest.fixture
def pools(tmp_path: Path) -> Iterator[str]:
    """The pools of a guest that was moved to another host once: some items were set again."""
    with RunningDaemon(tmp_path, "--no-sync") as daemon:
        peer = daemon.connect()

        def ask(operation: int, pool: int, key: str, value: str = "") -> None:
            assert peer.ask(operation, pool, key, value).status == HV_S_OK

        ask(KVP_OP_SET, EXTERNAL, "IPoIB_Data", "00155D33FF1D:172.16.1.7")
        ask(KVP_OP_SET, EXTERNAL, "Gone", "x" * 2000)
        ask(KVP_OP_SET, EXTERNAL, "NdDriverVersion", "140.0")
        ask(KVP_OP_SET, EXTERNAL, "NdDriverVersion", "142.0")
        ask(KVP_OP_DELETE, EXTERNAL, "Gone")
        for key, value in PARAMETERS.items():
            ask(KVP_OP_SET, HOST_PROVIDED, key, f"{value} before")
        for key, value in PARAMETERS.items():
            ask(KVP_OP_SET, HOST_PROVIDED, key, value)
        yield str(daemon.pool_dir)


def run(pools: str, *argv: str) -> str:
    """Run a program for which a directory of pools is /var/lib/hyperv."""
    script = (
        "mount -t tmpfs none /var/lib && mkdir /var/lib/hyperv"
        ' && mount --bind "$1" /var/lib/hyperv && shift && exec "$@"'
    )
    unshare = ("unshare", "--mount", "--propagation", "private")
    done = subprocess.run(
        [*unshare, "sh", "-c", script, "sh", pools, *argv],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_walinuxagent_finds_what_it_looks_for_in_the_host_s_pool(pools: str) -> None:
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from azurelinuxagent.common.rdma import RDMADeviceHandler, RDMAHandler
print(RDMAHandler().get_rdma_version())
print(*RDMADeviceHandler.read_ipoib_data(None))
"""
    said = run(pools, "/usr/bin/python3", "-c", code, tools.walinuxagent())
    assert said.splitlines()[-2:] == [
        "142.0",
        "IPoIB_Data 00155D33FF1D:172.16.1.7",
    ]


def test_walinuxagent_sees_that_the_daemon_runs(tmp_path: Path) -> None:
    """In a PID namespace, since any process of this machine might have the name."""
    code = """
import json, subprocess, sys
sys.path.insert(0, sys.argv[1])
from azurelinuxagent.common.rdma import RDMAHandler
print(RDMAHandler.is_kvp_daemon_running())
daemon = subprocess.Popen(json.load(sys.stdin), stderr=subprocess.PIPE, text=True)
print(daemon.stderr.readline())
print(RDMAHandler.is_kvp_daemon_running())
daemon.kill()
"""
    program = os.path.join(sysconfig.get_path("scripts"), "hv_kvp_daemon")
    argv = [program, "-n", f"--transport=loopback:{tmp_path}/host", f"--pool-dir={tmp_path}"]
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    done = subprocess.run(
        [*unshare, "/usr/bin/python3", "-c", code, tools.walinuxagent()],
        input=json.dumps(argv),
        # To ps, this is the width at which to cut a command line.
        env={name: value for name, value in os.environ.items() if name != "COLUMNS"},
        capture_output=True,
        text=True,
        check=True,
    )
    said = [line for line in done.stdout.splitlines() if line in {"False", "True"}]
    assert said == ["False", "True"], done.stdout


def test_hyperkv_prints_each_item(pools: str) -> None:
    code = """
import sys
sys.path.insert(0, sys.argv.pop())
from hyperkv.cli import command_line
command_line()
"""
    said = run(pools, sys.executable, "-c", code, tools.hyperkv())
    assert json.loads(said) == PARAMETERS
    assert list(json.loads(said)) == list(PARAMETERS)


def test_ohai_finds_the_name_of_the_host(pools: str) -> None:
    """Its expression spans two items, so it depends on their order in the file."""
    code = """
plugin = Dir.glob(ARGV[0] + "/**/ohai/plugins/linux/virtualization.rb").first
line = File.readlines(plugin).grep(/HostingSystemEditionId/).first
data = File.read("/var/lib/hyperv/.kvp_pool_3", encoding: "UTF-8")
eval(line.strip.sub("hyperv_host", "$host"))
puts $host
"""
    said = run(pools, "ruby", "-W0", "-e", code, tools.ohai())
    assert said == "ams073062908039\n"
