# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The packages in a booted guest, alone and beside Debian's hyperv-daemons."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

from hv_kvp_daemon.wire.uapi import HV_S_OK, KVP_OP_SET
from tests.support.process import wait_for

from .booted import OURS, PACKAGES, THEIRS

if TYPE_CHECKING:
    from collections.abc import Callable

    from .booted import Guest

FIRST = ("hv-kvp-daemon_1*.deb", "python3-hv-kvp-daemon_1*.deb")
LATER = ("hv-kvp-daemon_99*.deb", "python3-hv-kvp-daemon_99*.deb")
NAMES = ("hv-kvp-daemon", "python3-hv-kvp-daemon")
HYPERV = "hyperv-daemons_[67]*.deb"
HYPERV_LATER = "hyperv-daemons_99*.deb"


def install(guest: Guest, *patterns: str) -> str:
    found = [
        path.name
        for pattern in patterns
        for path in (guest.root / PACKAGES.lstrip("/")).glob(pattern)
    ]
    assert len(found) == len(patterns), found
    return guest.apt("install", *found)


def set_pair(guest: Guest, value: str) -> None:
    """Have the host set a pair, through the daemon of the package."""
    with closing(guest.connect()) as peer:
        assert peer.ask(KVP_OP_SET, 0, "key", value).status == HV_S_OK
    assert guest.run("hv-kvp get key --pool external") == f"{value}\n"


def state(guest: Guest) -> tuple[bool, bool]:
    """Whether our daemon and Debian's run."""
    return guest.is_active(OURS), guest.is_active(THEIRS)


def test_the_package_serves_at_once_and_needs_nothing_else(
    boot: Callable[..., Guest],
) -> None:
    """I14: a reload needed a program that a minimal Debian does not have."""
    guest = boot(clean=True)
    install(guest, *FIRST)
    set_pair(guest, "first")
    # What the daemon imports beside its own modules is what a bare interpreter imports.
    script = guest.run("head -1 /usr/bin/hv_kvp_daemon")
    assert script == "#!/usr/bin/python3 -I\n"
    imported = guest.run("python3 -I -X importtime /usr/bin/hv_kvp_daemon --version")
    modules = {line.rpartition("|")[2].strip() for line in imported.splitlines()}
    assert "hv_kvp_daemon.service.main" in modules
    assert not modules & {"re", "importlib.metadata", "pathlib", "typing"}
    pid = guest.pid(OURS)
    command = guest.run(f"cat /proc/{pid}/cmdline").split("\0")
    assert command[:3] == ["/usr/bin/python3", "-I", "/usr/bin/hv_kvp_daemon"]
    guest.run(f"systemctl reload {OURS}")
    assert "without bytecode" not in guest.run("hv-kvp doctor", check=False)
    for program in ("hv-kvp", "hv-kvp-daemon", "hv_kvp_daemon"):
        assert guest.run(f"{program} --version").split()[-1]
    for module in ("hv_kvp_daemon", "netifaces", "psutil", "pyroute2"):
        guest.run(f"python3 -c __import__('{module}')")
    for name in (OURS, "hv_kvp_daemon.service", "hypervkvpd.service", "hv-kvp-ip.socket"):
        assert guest.is_active(name), name
    log = guest.log(OURS)
    assert "Traceback" not in log


def test_install_service_has_nothing_to_do_for_a_package(boot: Callable[..., Guest]) -> None:
    guest = boot()
    install(guest, *FIRST)
    pid = guest.pid(OURS)
    before = guest.run("find /etc /usr/local -newer /usr/bin/hv-kvp -type f")
    done = guest.run("hv-kvp install-service --yes")
    assert "nothing to do: " in done
    assert "a package's unit" in done
    assert guest.pid(OURS) == pid
    assert guest.run("find /etc /usr/local -newer /usr/bin/hv-kvp -type f") == before
    done = guest.run("hv-kvp uninstall-service --yes", check=False)
    assert "apt remove hv-kvp-daemon" in done
    # What an administrator chooses is a drop-in, which a purge removes.
    guest.run("hv-kvp install-service --pool-dir /srv/kvp --yes")
    assert "--pool-dir /srv/kvp" in guest.run(f"systemctl show --property=ExecStart {OURS}")
    guest.apt("purge", *NAMES)
    left = guest.run("find /etc /usr /var/lib /run -name *hv?kvp* -not -name lab.conf")
    found = {line for line in left.splitlines() if "/lab/" not in line}
    labs = f"/etc/systemd/system/{OURS}.d"
    assert all(line.startswith(labs) for line in found), found


def test_hyperv_daemons_first(boot: Callable[..., Guest]) -> None:
    """I12: removing ours brings theirs back, which a link at /var/lib/hyperv prevented."""
    guest = boot()
    install(guest, HYPERV)
    guest.run(f"systemctl start {THEIRS}")
    assert state(guest) == (False, True)
    install(guest, *FIRST)
    assert state(guest) == (True, False)
    set_pair(guest, "ours")
    pid = guest.pid(OURS)
    # Neither an administrator nor the scripts of that package start it, or stop ours.
    guest.run(f"systemctl start {THEIRS}")
    assert "hv-kvp.conf" in guest.run(f"systemctl status {THEIRS}", check=False)
    assert state(guest) == (True, False)
    install(guest, HYPERV_LATER)
    assert (state(guest), guest.pid(OURS)) == ((True, False), pid)
    install(guest, *LATER)
    assert state(guest) == (True, False)
    assert guest.pid(OURS) != pid
    set_pair(guest, "later")
    assert guest.run("systemctl cat hv-vss-daemon.service")
    diagnosis = guest.run("hv-kvp doctor", check=False)
    assert "starts another daemon" not in diagnosis
    guest.reboot()
    assert state(guest) == (True, False)
    assert guest.run("hv-kvp get key --pool external") == "later\n"
    # Removing ours brings theirs back.
    guest.apt("remove", *NAMES)
    assert state(guest) == (False, True)
    pool = guest.run("cat /var/lib/hyperv/.kvp_pool_0")
    assert "later" in pool
    install(guest, *FIRST)
    assert state(guest) == (True, False)
    assert guest.run("hv-kvp get key --pool external") == "later\n"
    # The pools are the host's and other programs' as well.
    guest.apt("purge", *NAMES)
    assert state(guest) == (False, True)
    assert guest.run("cat /var/lib/hyperv/.kvp_pool_0") == pool
    assert not (guest.root / "var/lib/hv-kvp-daemon").exists()


def test_hyperv_daemons_second(boot: Callable[..., Guest]) -> None:
    guest = boot()
    install(guest, *FIRST)
    set_pair(guest, "mine")
    pid = guest.pid(OURS)
    for action in ("install", "upgrade", "remove", "install", "purge", "install"):
        if action in {"remove", "purge"}:
            guest.apt(action, "hyperv-daemons")
        else:
            install(guest, HYPERV_LATER if action == "upgrade" else HYPERV)
        assert (state(guest), guest.pid(OURS)) == ((True, False), pid), action
    # Both at once, in one run of apt.
    install(guest, HYPERV_LATER, *LATER)
    assert state(guest) == (True, False)
    # One that the administrator has masked stays so.
    guest.run(f"systemctl mask {THEIRS}")
    guest.apt("remove", *NAMES)
    assert state(guest) == (False, False)
    assert "mine" in guest.run("cat /var/lib/hyperv/.kvp_pool_0")


def test_an_upgrade_leaves_a_masked_daemon_and_what_runs_instead(
    boot: Callable[..., Guest],
) -> None:
    """I18: the other daemon was stopped, and there was none."""
    guest = boot()
    install(guest, HYPERV)
    guest.run(f"systemctl start {THEIRS}")
    install(guest, *FIRST)
    guest.run(f"mkdir -p /etc/systemd/system/{THEIRS}.d")
    guest.run(f"ln -s /dev/null /etc/systemd/system/{THEIRS}.d/hv-kvp.conf")
    guest.run(f"systemctl mask --now {OURS}")
    guest.run(f"systemctl enable --now {THEIRS}")
    pid = guest.pid(THEIRS)
    assert "masked" not in install(guest, *LATER)
    assert (state(guest), guest.pid(THEIRS)) == ((False, True), pid)


def test_an_installation_of_install_service_outlives_the_package(
    boot: Callable[..., Guest],
) -> None:
    """I19: a purge deleted its files and moved its pools; without it, no daemon was left."""
    guest = boot()
    for name, module in (("hv-kvp", "cli"), ("hv_kvp_daemon", "service")):
        guest.write(
            f"/opt/own/{name}",
            "#!/usr/bin/python3\nimport sys\nsys.path.insert(0, '/opt/hv-kvp/src')\n"
            f"from hv_kvp_daemon.{module}.main import main\nsys.exit(main())\n",
            0o755,
        )
    lab = f"/etc/systemd/system/{OURS}.d/lab.conf"
    guest.write(lab, guest.run(f"cat {lab}").replace("/usr/bin", "/opt/own"))
    chosen = "--transport chardev --pool-dir /var/opt/hyperv"
    guest.run(f"/opt/own/hv-kvp install-service {chosen} --yes")
    guest.write("/etc/hv-kvp-watch/own", "#!/bin/sh\n", 0o755)
    guest.run("systemctl enable --now hv-kvp-watch@own.service")
    listing = "find /etc /usr/local /var/opt/hyperv /var/lib/hyperv -name *kvp*"
    install(guest, *FIRST)
    set_pair(guest, "theirs and ours")
    before = {*guest.run(listing).splitlines()}
    guest.apt("purge", *NAMES)
    assert {*guest.run(listing).splitlines()} == before
    assert guest.is_active(OURS)
    assert guest.is_active("hv-kvp-watch@own.service")
    assert guest.run("/opt/own/hv-kvp get key --pool external") == "theirs and ours\n"
    # The reverse: the package's daemon runs at once.
    install(guest, *FIRST)
    guest.run("/opt/own/hv-kvp uninstall-service --yes")
    assert guest.is_active(OURS)
    assert guest.run(f"systemctl show --property=FragmentPath {OURS}").count("/lib/systemd/")
    set_pair(guest, "the package's")


def test_an_alias_of_install_service_is_not_taken_for_debians_daemon(
    boot: Callable[..., Guest],
) -> None:
    guest = boot()
    guest.run("mkdir -p /usr/local/lib/systemd/system")
    guest.run(f"ln -s /usr/lib/systemd/system/{OURS} /usr/local/lib/systemd/system/{THEIRS}")
    install(guest, *FIRST)
    guest.run(f"systemctl restart {THEIRS}")
    assert guest.is_active(OURS)
    set_pair(guest, "by its alias")


def test_without_hyper_v_nothing_starts_and_nothing_waits(boot: Callable[..., Guest]) -> None:
    """I20: a socket whose conditions do not hold is no obstacle for what requires it."""
    guest = boot(hyperv=False)
    install(guest, HYPERV, *FIRST)
    assert not guest.is_active(OURS)
    guest.reboot()
    guest.run("systemctl start hv-kvp-ip.service")
    states = "active,activating,failed"
    assert guest.run(f"systemctl list-units --no-legend --state={states} hv-kvp*") == ""
    assert "hv-kvp" not in guest.run("systemd-analyze blame")
    assert os.readlink(guest.root / "var/lib/hyperv") == "../opt/hyperv"
    install(guest, *LATER)
    assert not guest.is_active(OURS)
    guest.apt("purge", *NAMES)
    assert not os.path.lexists(guest.root / "var/lib/hyperv")
    assert not (guest.root / "var/opt/hyperv").exists()
    assert guest.run("systemctl is-failed *kvp*", check=False) != "failed\n"


def test_policy_rc_d_is_obeyed(boot: Callable[..., Guest]) -> None:
    guest = boot()
    guest.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
    install(guest, *FIRST)
    assert not guest.is_active(OURS)


def test_a_watch_is_restarted_and_removed_with_its_package(
    boot: Callable[..., Guest],
) -> None:
    name = "hv-kvp-watch@later.service"
    guest = boot()
    install(guest, *FIRST)
    guest.write("/etc/hv-kvp-watch/later", "#!/bin/sh\n", 0o755)
    guest.run(f"systemctl enable --now {name}")
    pid = guest.pid(name)
    assert pid
    install(guest, *LATER)
    wait_for("its restart", lambda: guest.pid(name) not in {0, pid})
    guest.apt("remove", *NAMES)
    assert not guest.is_active(name)
