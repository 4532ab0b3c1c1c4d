# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``hv-kvp`` on a booted guest: install, status, doctor, watch, uninstall."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from tests.driver import guest
from tests.driver.guest import wait_for
from tests.driver.lab.hvhost import EXTERNAL, S_OK, Host

APPEND = "hvlab.systemd hvlab.manual"
SECONDS = 300
CHECK_SECONDS = 90

UNIT = "hv-kvp.service"


def hv_kvp(*words: str) -> subprocess.CompletedProcess[str]:
    # Not by its link in /usr/local/bin, which uninstall-service removes.
    argv = ["/payload/bin/hv-kvp", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def as_json(*words: str) -> Any:
    done = hv_kvp(*words, "--json")
    assert done.stdout, done
    return json.loads(done.stdout)


def problems() -> list[str]:
    return [each["finding"] for each in as_json("doctor") if each["state"] == "problem"]


def journal() -> str:
    done = subprocess.run(
        ["journalctl", "--unit", UNIT, "--no-pager", "--output=cat"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def active() -> bool:
    done = subprocess.run(["systemctl", "is-active", "--quiet", UNIT], check=False)
    return done.returncode == 0


def check_doctor_says_that_there_is_no_host_without_a_driver() -> None:
    assert problems() == ["this is not a Hyper-V guest: there is no host"]


def check_install_service_makes_a_late_driver_start_the_daemon() -> None:
    done = hv_kvp("install-service", "--yes")
    assert done.returncode == 0, done
    assert "any local user can" in done.stderr
    guest.load_driver()
    wait_for("a start by udev", active)
    status = wait_for("registration", _serving)
    assert status["transport"] == "netlink"
    assert status["driver_version"] == "3.1"


def _serving() -> Any:
    facts = as_json("status")
    return facts if facts["serving"] else None


def fresh() -> None:
    """Start the service, whose daemon the runner has killed after the check before."""
    subprocess.run(["systemctl", "restart", UNIT], check=True)
    wait_for("registration", _serving)


def check_doctor_finds_nothing_where_all_is_well() -> None:
    fresh()
    found = problems()
    assert found == [], found
    assert hv_kvp("doctor").returncode == 0


def check_watch_ends_with_the_key_that_the_host_sets() -> None:
    fresh()
    watch = guest.Process(["hv-kvp", "watch", "external", "--until", "token"])
    with Host(timeout=10) as host:
        assert host.negotiate() == S_OK
        status = host.set(EXTERNAL, "token", "4711")
        assert status == S_OK, f"{status:#x} {journal()}"
    assert watch.wait(30) == 0
    assert watch.stdout.rstrip().split("\t")[1:] == ["external", "token", "4711"]
    assert hv_kvp("get", "token").stdout == "4711\n"
    wait_for("the request in status", lambda: as_json("status")["requests"].get("SET"))


def check_auto_shows_the_drivers_version() -> None:
    fresh()
    values = {each["key"]: each["value"] for each in as_json("auto")}
    assert values["IntegrationServicesVersion"] == "3.1", f"{values} {journal()}"
    assert values["NetworkAddressIPv4"] == "192.0.2.10"


def check_an_ordinary_user_gets_a_hint_to_use_root() -> None:
    assert hv_kvp("set", "public", "value").returncode == 0
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "hv-kvp", "list"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done
    assert "guest\tpublic\tvalue\n" in done.stdout
    for words in (["set", "k", "v"], ["uninstall-service", "--yes"]):
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "hv-kvp", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3, done
        assert "run it as root" in done.stderr


def check_doctor_names_the_c_daemon_that_holds_the_device() -> None:
    subprocess.run(["systemctl", "stop", UNIT], check=True)
    rival = guest.Process(["/usr/sbin/hv_kvp_daemon", "-n"])
    holds = f"hv_kvp_daemon (pid {rival.pid}) holds {guest.DEVICE}"
    wait_for("the rival's name", lambda: any(each.startswith(holds) for each in problems()))
    rival.stop(seconds=10)
    subprocess.run(["systemctl", "start", UNIT], check=True)
    wait_for("registration", _serving)


def check_a_second_installation_keeps_the_transport_and_the_keys() -> None:
    """I1, I4: on a machine where the daemon serves."""
    assert hv_kvp("set", "kept", "value").returncode == 0
    done = hv_kvp("install-service", "--yes", "--transport", "chardev")
    assert done.returncode == 0, done
    done = hv_kvp("install-service", "--yes")
    assert done.returncode == 0, done
    assert "as installed before: --transport chardev" in done.stderr, done
    assert "hv-kvp.service serves (pid " in done.stdout, done
    assert as_json("status")["transport"] == "chardev"
    assert hv_kvp("get", "kept").stdout == "value\n"
    done = hv_kvp("install-service", "--yes", "--transport", "auto")
    assert "hv-kvp.service serves (pid " in done.stdout, done
    assert as_json("status")["transport"] == "netlink"


def check_uninstall_service_leaves_the_pools() -> None:
    assert hv_kvp("set", "k", "v").returncode == 0
    assert hv_kvp("uninstall-service", "--yes").returncode == 0
    assert not active()
    assert not os.path.exists(f"/etc/systemd/system/{UNIT}")
    assert not os.path.lexists("/usr/local/bin/hv-kvp")
    assert hv_kvp("get", "k").stdout == "v\n"
    assert hv_kvp("uninstall-service", "--yes").returncode == 1
