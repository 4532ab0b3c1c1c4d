# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The files in systemd/ agree with the program and with each other.

tests/driver shows that systemd accepts them, and how they behave.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from hv_kvp_daemon.cli.main import build_parser
from hv_kvp_daemon.cli.service.unit_files import ALIASES
from hv_kvp_daemon.netconfig import networkmanager, resolver
from hv_kvp_daemon.netconfig.injection import DIRECTORY, SOCKET
from hv_kvp_daemon.pools.place import OTHER_DIRECTORY, POOL_DIRECTORY
from hv_kvp_daemon.service.instance import RUN_DIRECTORY
from hv_kvp_daemon.service.options import parse as parse_options
from hv_kvp_daemon.service.program import PROCESS_NAME
from hv_kvp_daemon.transport.driver import DEVICE
from hv_kvp_daemon.transport.uevent import DEVPATH

FOLDER = Path(__file__).parents[2] / "systemd"
UNIT = "hv-kvp.service"
DROP_IN = "chardev.conf"
BOOT = "multi-user.target.d/hv-kvp.conf"
RULES = "90-hv-kvp-daemon.rules"
CONF = "hv-kvp-daemon.conf"  # its name in tmpfiles.d
TMPFILES = "hv-kvp-daemon.tmpfiles.conf"
WATCH = "hv-kvp-watch@.service"
IP_UNIT = "hv-kvp-ip.service"
IP_SOCKET = "hv-kvp-ip.socket"
RESOLVECTL = "hv-kvp-resolvectl"
NMCLI = "hv-kvp-nmcli"
ASK = (RESOLVECTL, NMCLI)
ASK_SOCKETS = tuple(f"{name}.socket" for name in ASK)
ASK_UNITS = tuple(f"{name}@.service" for name in ASK)
LINK = OTHER_DIRECTORY

Sections = dict[str, dict[str, list[str]]]


def lines(name: str) -> list[str]:
    """The lines of a file that are neither comments nor empty."""
    text = (FOLDER / name).read_text(encoding="ascii").replace("\\\n", "")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def parse(name: str) -> Sections:
    """Sections and keys of a unit file; a key that is given again adds a value."""
    sections: Sections = {}
    for line in lines(name):
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = sections.setdefault(match[1], {})
        else:
            match = re.fullmatch(r"([A-Z]\w+)=(.*\S)?", line)
            assert match, line
            section.setdefault(match[1], []).append(match[2] or "")
    return sections


@pytest.fixture
def unit() -> Sections:
    return parse(UNIT)


def test_these_are_the_files() -> None:
    found = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}
    assert found == {
        *(UNIT, DROP_IN, BOOT, RULES, TMPFILES, IP_UNIT, IP_SOCKET, WATCH),
        *(*ASK_SOCKETS, *ASK_UNITS),
    }


def test_sections_are_the_ones_of_a_service(unit: Sections) -> None:
    assert list(unit) == ["Unit", "Service"]
    assert list(parse(DROP_IN)) == ["Service"]


def test_the_daemon_takes_the_units_options(unit: Sections) -> None:
    program, *options = shlex.split(unit["Service"]["ExecStart"][0])
    assert program == f"/usr/bin/{PROCESS_NAME}"
    parsed = parse_options(options)
    assert parsed.no_daemon
    assert parsed.clear_stale
    assert parsed.pool_dir == ""  # chosen at each start
    assert parsed.transport == "auto"


def test_the_watch_runs_the_program_of_its_key() -> None:
    watch = parse(WATCH)
    program, *words = shlex.split(watch["Service"]["ExecStart"][0])
    assert program == "/usr/bin/hv-kvp"
    options = build_parser().parse_args(
        # The program of a unit is there: see its condition.
        [word.replace("%I", "-k").replace("/etc/hv-kvp-watch/%i", "/bin/sh") for word in words]
    )
    assert (options.command, options.pool, options.key) == ("watch", 0, b"-k")
    assert options.present
    assert watch["Unit"]["ConditionFileIsExecutable"] == [words[words.index("--exec") + 1]]
    assert watch["Unit"]["After"] == [UNIT]
    assert watch["Unit"]["RequiresMountsFor"] == [f"{POOL_DIRECTORY} {OTHER_DIRECTORY}"]
    # The command passes SIGTERM on itself, once.
    assert watch["Service"]["KillMode"] == ["mixed"]


def test_the_drop_in_changes_the_transport_alone(unit: Sections) -> None:
    service = parse(DROP_IN)["Service"]
    cleared, command = service["ExecStart"]
    assert cleared == ""
    assert command == unit["Service"]["ExecStart"][0] + " --transport chardev"
    assert parse_options(shlex.split(command)[1:]).transport == "chardev"
    assert service.keys() == {"ExecStart", "CapabilityBoundingSet"}


def test_the_pools_directory_is_the_same_everywhere(unit: Sections) -> None:
    # Without "-" nothing is executed if one does not exist, not even what makes it.
    assert unit["Service"]["ReadWritePaths"] == [f"-{POOL_DIRECTORY} -{OTHER_DIRECTORY}"]
    assert unit["Service"]["ExecStartPre"] == [f"-+systemd-tmpfiles --create {CONF}"]
    assert unit["Unit"]["RequiresMountsFor"] == [f"{POOL_DIRECTORY} {OTHER_DIRECTORY}"]
    assert "systemd-tmpfiles-setup.service" in unit["Unit"]["After"]
    made, link = (line.split() for line in lines(TMPFILES))
    assert made == ["d", POOL_DIRECTORY, "0755", "root", "root", "-"]
    # Without "+": an existing file or directory is left alone.
    assert link[:-1] == ["L", LINK, "-", "-", "-", "-"]
    # Relative: an absolute link in a mounted image leads to the builder's own pools.
    assert not link[-1].startswith("/")
    assert os.path.normpath(f"{LINK}/../{link[-1]}") == POOL_DIRECTORY


def test_the_directory_of_the_lock_survives_a_restart(unit: Sections) -> None:
    service = unit["Service"]
    assert [f"/run/{name}" for name in service["RuntimeDirectory"]] == [RUN_DIRECTORY]
    assert service["RuntimeDirectoryMode"] == ["0755"]
    assert service["RuntimeDirectoryPreserve"] == ["yes"]


def test_requests_for_addresses_go_to_the_socket_of_a_unit_of_root(unit: Sections) -> None:
    """I20: without the socket, that unit was started again each two seconds."""
    assert IP_SOCKET in unit["Unit"]["Wants"][0].split()
    assert unit["Unit"]["Wants"][0] in unit["Unit"]["After"]
    assert parse(IP_SOCKET)["Socket"] == {
        "ListenSequentialPacket": [SOCKET],
        "SocketMode": ["0600"],
        "RemoveOnStop": ["yes"],
    }
    # The daemon's own sandbox leaves the records to that unit.
    assert "StateDirectory" not in unit["Service"]
    # Where the conditions of the socket do not hold, Requires= lets the unit start.
    assert parse(IP_UNIT)["Unit"]["Requires"] == [IP_SOCKET]
    assert parse(IP_UNIT)["Unit"]["ConditionPathExists"] == [SOCKET]
    service = parse(IP_UNIT)["Service"]
    assert DIRECTORY.startswith(f"/var/lib/{service['StateDirectory'][0]}/")
    assert os.path.dirname(DIRECTORY) in parse(IP_UNIT)["Unit"]["RequiresMountsFor"][0]
    assert parse(IP_UNIT)["Unit"]["Requires"] == [IP_SOCKET]
    program, *words = shlex.split(service["ExecStart"][0])
    assert program == "/usr/bin/hv-kvp"
    assert build_parser().parse_args(words).serve


def test_the_bus_is_hidden_and_the_programs_that_need_it_have_a_unit(unit: Sections) -> None:
    """S3: over D-Bus, a daemon that was taken over had systemd start programs for root."""
    assert unit["Service"]["TemporaryFileSystem"] == ["/run/dbus:ro"]
    hidden = " ".join(unit["Service"]["InaccessiblePaths"]).split()
    assert {"-/run/systemd/private", "-/run/user"} <= {*hidden}
    assert unit["Unit"]["Wants"] == [" ".join([IP_SOCKET, *ASK_SOCKETS])]
    sockets = (resolver.RESOLVECTL_SOCKET, networkmanager.NMCLI_SOCKET)
    for path, name in zip(sockets, ASK_SOCKETS, strict=True):
        section = parse(name)["Socket"]
        assert section["ListenStream"] == [path]
        assert section["SocketMode"] == ["0600"]
        assert section["Accept"] == section["RemoveOnStop"] == ["yes"]


def test_what_asks_over_the_bus_reads_nothing_and_may_do_nothing_else() -> None:
    first, second = (parse(name)["Service"] for name in ASK_UNITS)
    assert first["ExecStart"] == [f"{resolver.RESOLVECTL} dns"]
    shell, option, script = shlex.split(second["ExecStart"][0])
    assert (shell, option) == ("/bin/sh", "-c")
    devices, profiles = script.split(";")
    assert devices.split() == ["nmcli", *networkmanager.DEVICE_WORDS]
    assert profiles.split()[: 1 + len(networkmanager.PROFILE_WORDS)] == [
        "nmcli",
        *networkmanager.PROFILE_WORDS,
    ]
    for service in (first, second):
        assert service["StandardInput"] == ["null"]
        assert service["StandardOutput"] == ["socket"]
        assert service["User"] == ["65534"]
        assert service["CapabilityBoundingSet"] == [""]
        assert float(service["RuntimeMaxSec"][0].removesuffix("s")) > resolver.SECONDS
        assert "AF_INET" not in service["RestrictAddressFamilies"][0]


@pytest.mark.parametrize("name", [IP_UNIT, IP_SOCKET, *ASK_SOCKETS, *ASK_UNITS])
def test_the_units_beside_it_start_as_early_as_the_daemon(name: str) -> None:
    section = parse(name)["Unit"]
    assert section["DefaultDependencies"] == ["no"]
    assert section["Conflicts"] == section["Before"] == ["shutdown.target"]
    assert section["IgnoreOnIsolate"] == ["yes"]


def test_the_boot_starts_what_hyper_v_has(unit: Sections) -> None:
    """I16: udev alone is too late for cloud-init, and says nothing after a soft-reboot.

    I17: the start of any service includes that of what sysinit.target wants.
    """
    assert BOOT.startswith("multi-user.target.d/")
    assert parse(BOOT) == {"Unit": {"Wants": [UNIT]}}
    # What the unit wants is started even where the unit's own conditions do not hold.
    for section in (unit, *map(parse, (IP_SOCKET, *ASK_SOCKETS))):
        assert section["Unit"]["ConditionPathExists"] == [f"|{DEVICE}"]
        assert section["Unit"]["ConditionVirtualization"] == ["|microsoft"]
    wanted = " ".join(unit["Unit"]["Wants"]).split()
    assert {*wanted} == {IP_SOCKET, *ASK_SOCKETS}


def test_udev_starts_the_unit_when_the_device_appears(unit: Sections) -> None:
    (rule,) = lines(RULES)
    parts = dict(re.findall(r'([A-Z_{}]+(?:==|!=|\+=|=))"([^"]*)"', rule))
    assert len(parts) == len(rule.split(", "))
    assert parts["SUBSYSTEM=="] == "misc"
    assert "/dev/" + parts["KERNEL=="] == DEVICE
    assert parts["KERNEL=="].replace("/", "!") == DEVPATH.decode().rpartition("/")[2]
    assert parts["ACTION!="] == "remove"
    assert parts["TAG+="] == "systemd"
    # "=", since the distributions' rules, which are read before, start their own daemon.
    assert parts["ENV{SYSTEMD_WANTS}="] == UNIT
    assert RULES > "70-hypervkvp.rules"


def test_early_services_find_the_pools(unit: Sections) -> None:
    before = " ".join(unit["Unit"]["Before"]).split()
    assert {"cloud-init-local.service", "azure-init.service", "walinuxagent.service"} <= {
        *before
    }
    assert unit["Unit"]["DefaultDependencies"] == ["no"]
    # DefaultDependencies=no removes this as well: the unit stops at shutdown.
    assert "shutdown.target" in before
    conflicts = unit["Unit"]["Conflicts"][0].split()
    assert conflicts == ["shutdown.target", "hyperv-daemons.hv-kvp-daemon.service"]
    # These are its own names, which the distributions' units have, too.
    assert not {UNIT, *ALIASES} & {*conflicts}


def test_the_device_is_allowed_by_its_class(unit: Sections) -> None:
    assert unit["Service"]["DevicePolicy"] == ["closed"]
    assert unit["Service"]["DeviceAllow"] == ["char-misc rw"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("ExecReload", "sh -c 'kill -HUP $MAINPID'"),
        ("Restart", "on-failure"),
        ("ProtectSystem", "strict"),
        ("ReadOnlyPaths", "/run"),
        ("BindReadOnlyPaths", "/dev"),
        ("CapabilityBoundingSet", "CAP_NET_ADMIN"),
        ("NoNewPrivileges", "yes"),
        ("RestrictAddressFamilies", "AF_NETLINK AF_UNIX AF_INET AF_INET6"),
        ("SystemCallArchitectures", "native"),
        ("SystemCallErrorNumber", "EPERM"),
    ],
)
def test_a_setting_of_the_service(unit: Sections, key: str, value: str) -> None:
    assert unit["Service"][key] == [value]


def test_system_calls_are_an_allow_list(unit: Sections) -> None:
    first, *others = unit["Service"]["SystemCallFilter"]
    assert first == "@system-service"
    assert all(line.startswith("~") for line in others)


@pytest.mark.parametrize(
    "key",
    [
        "IPAddressDeny",  # cuts off DNS
        "PrivateDevices",  # hides the device
        "PrivateNetwork",  # the driver is not in another network namespace
        "PrivateUsers",  # no right to join its group before Linux 6.6
        "ProcSubset",  # hides the group's other members and who holds a lock
        "ProtectHostname",  # freezes the host name
        "ProtectProc",  # hides the process that has the device open
    ],
)
def test_what_would_break_the_daemon_is_left_out(unit: Sections, key: str) -> None:
    assert key not in unit["Service"]


@pytest.mark.parametrize("key", ["BindsTo", "Requires", "Requisite", "WantedBy"])
def test_nothing_ties_the_unit_to_a_device_or_a_boot(key: str) -> None:
    keys = {
        found for name in (UNIT, DROP_IN) for part in parse(name).values() for found in part
    }
    assert key not in keys
