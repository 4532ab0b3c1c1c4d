# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``doctor --report``: it has what an issue needs, and nothing of the pools."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

from hv_kvp_daemon import __version__
from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.service.trace import describe
from hv_kvp_daemon.wire.message import Request, encode_request, encode_status
from hv_kvp_daemon.wire.uapi import HV_E_FAIL, HV_S_OK, KVP_OP_SET
from tests.support.command import call
from tests.support.daemon import RunningDaemon
from tests.support.emulator import require_own_process_image

# What a daemon with --debug logs of a request.
LOGGED = describe(
    encode_request(Request(KVP_OP_SET, 0, b"secret-key", b"secret-value")),
    encode_status(HV_S_OK),
    lambda _: True,
)

# Stands for systemctl and journalctl, which have no service to speak of here.
ECHO = f"""\
#!{sys.executable}
import os, sys
print(os.path.basename(sys.argv[0]), *sys.argv[1:])
if sys.argv[0].endswith("journalctl"):
    print({LOGGED!r})
"""


@pytest.fixture
def fake_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("systemctl", "journalctl"):
        (tmp_path / name).write_text(ECHO, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


@pytest.mark.usefixtures("fake_systemd")
def test_a_report_has_state_and_log_but_no_pair(tmp_path: Path) -> None:
    """D10: the log of a daemon with --debug has them."""
    require_own_process_image()
    assert "secret-value" in LOGGED
    with RunningDaemon() as daemon, daemon.host() as host:
        # The page of a daemon over loopback is beside its socket.
        os.link(f"{daemon.path}.status", tmp_path / "status")
        assert host.set(0, "secret-key", "secret-value") == 0
        os.unlink(pool_path(daemon.pool_dir, 3))
        os.mkdir(pool_path(daemon.pool_dir, 3))
        assert host.set(3, "secret-key", "secret-value") == HV_E_FAIL
        done = call(
            "doctor", "--report", "--run-dir", str(tmp_path), "--pool-dir", daemon.pool_dir
        )
    assert done.err == ""
    assert "secret" not in done.out
    first, *_ = done.out.splitlines()[1:]
    assert first == f"hv-kvp-daemon {__version__}"
    assert platform.python_version() in done.out
    assert platform.release() in done.out
    assert "Daemon: serving, but the last SET failed" in done.out
    assert "Requests: 2 SET" in done.out
    assert ".kvp_pool_0: 1 records, 2560 bytes, 0644" in done.out
    assert ".kvp_pool_3: unusable records" in done.out
    assert (
        "journalctl --boot --output=cat -q --output=short-monotonic --no-hostname" in done.out
    )
    assert done.status == 3  # as of doctor


def test_a_report_has_what_doctor_finds() -> None:
    findings = call("doctor").out
    assert f"== hv-kvp doctor\n{findings}== hv-kvp status\n" in call("doctor", "--report").out


def test_a_report_is_no_json() -> None:
    for words in (("doctor", "--json", "--report"), ("--json", "doctor", "--report")):
        done = call(*words)
        assert (done.status, done.out) == (2, "")
        assert done.err == "hv-kvp: --json and --report exclude each other\n"
