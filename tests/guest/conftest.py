# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.guest import routes, rtnetlink

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _any_time_for_rtnetlink(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need more than the daemon allows.

    The kernel has one lock for the links of all namespaces, and holds it while it removes
    those of another test.
    """
    monkeypatch.setattr(rtnetlink, "TIMEOUT", 60.0)
    monkeypatch.setattr(routes, "PATIENCE", 60.0)


@pytest.fixture
def no_child_and_no_descriptor_is_left() -> Iterator[None]:
    # What an earlier test has left to the collector would be closed at any time.
    gc.collect()
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
