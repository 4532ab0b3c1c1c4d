# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

from __future__ import annotations

import pytest

from hv_kvp_daemon.netconfig import (
    detached,
    ifupdown_writer,
    injection_unit,
    networkd_writer,
    networkmanager,
    networkmanager_writer,
    program,
    resolver,
    scripts,
    verify,
)
from tests.support.network import any_time_for_rtnetlink

_WITH_PROGRAMS = (
    *(detached, ifupdown_writer, networkd_writer, networkmanager, networkmanager_writer),
    *(resolver, scripts),
)


@pytest.fixture(autouse=True)
def _any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need more than the daemon allows; a test may set less."""
    any_time_for_rtnetlink(monkeypatch)
    monkeypatch.setattr(program, "LIMIT", 60.0)
    monkeypatch.setattr(injection_unit, "_SECONDS", 60.0)
    monkeypatch.setattr(verify, "PATIENCE", 60.0)
    monkeypatch.setattr(verify, "SHORT", 60.0)
    for module in _WITH_PROGRAMS:
        monkeypatch.setattr(module, "SECONDS", 60.0)
