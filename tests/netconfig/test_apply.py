# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Carrying out requests: what rtnetlink shows decides, and a killed process leaves no half."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hv_kvp_daemon.netconfig import injection_record, target, verify
from hv_kvp_daemon.netconfig.apply import apply, forget
from hv_kvp_daemon.netconfig.injection_record import Injection, load
from hv_kvp_daemon.netconfig.networkd_writer import NetworkdWriter
from hv_kvp_daemon.netconfig.settings import Settings
from hv_kvp_daemon.netconfig.verify import HOLDS, MISSING, STORED
from tests.support.network import in_own_network

from .injected import GUID, OURS, addresses, by_networkd, fake_networkd, programs, static
from .killed import Call, killed_at
from .network import Machine

THEIRS = "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.1/24\n"
V4 = Settings(static("10.0.0.5/24", "10.0.0.1"), None)
OTHER = Settings(static("10.9.9.9/24 10.9.9.8/24"), None)


class Guest(Machine):
    """A guest whose eth0 is configured by networkd, with 192.0.2.1/24."""

    def __init__(self, *, carrier: bool = True) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="hv-kvp-test-")))
        by_networkd(self, THEIRS, carrier=carrier)
        fake_networkd(self.root)
        # The fake networkd is done when it returns.
        verify.PATIENCE = verify.SHORT = target.PATIENCE = 0.0
        # A killed process loses nothing that is not on the disk yet.
        os.fsync = lambda fd: None

    def ask(self, settings: Settings, time: int = 1) -> None:
        record = load(str(self.root), GUID)
        record.pending = Injection(settings, "eth0", "networkd", time)
        record.save(str(self.root))

    def apply(self, settings: Settings, time: int = 1) -> tuple[str, str]:
        self.ask(settings, time)
        done = apply(GUID, programs(self))
        assert done is not None
        assert apply(GUID, programs(self)) is None, "nothing is pending any more"
        return done.state, done.detail

    @property
    def file(self) -> str:
        path = self.root / OURS.lstrip("/")
        return path.read_text() if path.exists() else ""


@in_own_network
def test_the_addresses_come_and_are_forgotten_again() -> None:
    """N3: the former configuration was overwritten."""
    guest = Guest()
    assert guest.apply(V4) == (HOLDS, "")
    assert addresses() == ["10.0.0.5/24"]
    assert guest.apply(OTHER, 2) == (HOLDS, "")
    assert addresses() == ["10.9.9.9/24", "10.9.9.8/24"]
    assert forget(GUID, programs(guest))
    assert addresses() == ["192.0.2.1/24"]
    assert guest.file == ""
    assert injection_record.guids(str(guest.root)) == []
    assert not forget(GUID, programs(guest))


@in_own_network
def test_a_file_of_our_name_that_was_there_before_comes_back() -> None:
    guest = Guest()
    guest.write(OURS, "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.77/24\n")
    os.chmod(guest.root / OURS.lstrip("/"), 0o600)
    before = guest.file
    assert guest.apply(V4) == (HOLDS, "")
    assert guest.file != before
    assert (guest.root / OURS.lstrip("/")).stat().st_mode & 0o777 == 0o644
    forget(GUID, programs(guest))
    assert guest.file == before
    assert (guest.root / OURS.lstrip("/")).stat().st_mode & 0o777 == 0o600
    assert addresses() == ["192.0.2.77/24"]


@in_own_network
def test_addresses_that_do_not_come_are_taken_back() -> None:
    """N2: success was an exit status."""
    guest = Guest()
    guest.apply(V4)
    before = guest.file
    fake_networkd(guest.root, lambda text: text.replace("Address=10.9", "Ignored=10.9"))
    state, detail = guest.apply(OTHER, 2)
    assert (state, detail) == (MISSING, "10.9.9.9/24 is missing")
    assert guest.file == before
    assert addresses() == ["10.0.0.5/24"]
    record = load(str(guest.root), GUID)
    assert record.current is not None
    assert record.failed is not None
    assert (record.current.settings, record.failed.settings) == (V4, OTHER)
    assert record.pending is None


@in_own_network
def test_a_gateway_that_does_not_come_and_an_address_that_stays_are_failures() -> None:
    guest = Guest()
    fake_networkd(guest.root, lambda text: text.replace("Gateway=", "Ignored="))
    assert guest.apply(V4) == (MISSING, "there is no default route by 10.0.0.1")
    assert guest.file == ""
    fake_networkd(guest.root)
    guest.apply(V4, 2)
    keep = "Address=10.0.0.5/24\nAddress=10.9"
    fake_networkd(guest.root, lambda text: text.replace("Address=10.9", keep, 1))
    assert guest.apply(OTHER, 3) == (MISSING, "10.0.0.5/24 is still there")


@in_own_network
def test_without_a_carrier_or_a_manager_settings_are_stored() -> None:
    guest = Guest(carrier=False)
    fake_networkd(guest.root, lambda _: "")
    assert guest.apply(V4) == (STORED, "no carrier")
    assert "10.0.0.5/24" in guest.file
    guest.running()
    assert guest.apply(OTHER, 2) == (STORED, "the network manager does not run yet")
    assert "10.9.9.9/24" in guest.file


@in_own_network
def test_an_adapter_that_has_gone_meanwhile_is_a_failure() -> None:
    guest = Guest()
    guest.ask(V4)
    (guest.root / "sys/class/net/eth0/device/device_id").unlink()
    done = apply(GUID, programs(guest))
    assert done is not None
    assert (done.state, done.detail) == (MISSING, f"no adapter has the GUID {GUID}")
    assert guest.file == ""


@pytest.mark.parametrize("comes", [True, False], ids=["comes", "is taken back"])
def test_killed_at_any_call_it_leaves_the_old_or_the_new_configuration(*, comes: bool) -> None:
    """N4."""

    @in_own_network
    def check() -> None:
        guest = Guest()
        assert guest.apply(V4) == (HOLDS, "")
        old = guest.file
        assert guest.apply(OTHER, 2) == (HOLDS, "")
        new = guest.file

        def act(counted: Callable[[Call], Call]) -> None:
            for name in ("fchmod", "rename", "unlink"):
                setattr(os, name, counted(getattr(os, name)))
            setattr(NetworkdWriter, "_reload", counted(NetworkdWriter._reload))  # noqa: B010
            apply(GUID, programs(guest))

        for count in range(200):
            assert guest.apply(V4, 10 + count) == (HOLDS, "")
            if not comes:
                fake_networkd(guest.root, lambda text: text.replace("Address=10.9", "#"))
            guest.ask(OTHER, 300 + count)
            killed = killed_at(count, act)
            assert guest.file in {old, new}
            apply(GUID, programs(guest))
            record = load(str(guest.root), GUID)
            assert record.pending is None
            assert record.current is not None
            assert record.current.settings == (OTHER if comes else V4)
            assert guest.file == (new if comes else old)
            assert addresses() == [
                str(each) for _, family in record.current.settings.changed().items()
                for each in family.addresses
            ]  # fmt: skip
            assert record.original == {OURS: None}
            assert not list((guest.root / "etc/systemd/network").glob(".*")) or killed
            fake_networkd(guest.root)
            if not killed:
                break
        else:
            raise AssertionError("it never ended")
        assert count > 5
        forget(GUID, programs(guest))
        assert addresses() == ["192.0.2.1/24"]

    check()
