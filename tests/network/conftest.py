# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Fixtures that build the lab, and boot a container for each release and manager."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.external import run
from tests.support.process import wait_for

from .container import GUESTS, HERE, Container


@pytest.fixture(scope="session", params=GUESTS)
def container(request: pytest.FixtureRequest) -> Iterator[Container]:
    """A booted guest of a release, for which the lab is built; without one the tests fail."""
    suite, manager = request.param
    run(HERE / "setup", suite)
    with Container(suite, manager) as container:
        yield container


@pytest.fixture
def guest(container: Container) -> Iterator[Container]:
    """A guest whose eth0 has a lease, and for which the host has set nothing.

    Its log is shown if the test fails.
    """
    since = container.run("date +@%s").strip()
    container.run("hv-kvp ip --forget eth0", check=False)
    for path in container.manager.cloud_init:
        if container.remove(path):
            container.reload()
    assert container.record() == {}
    wait_for("a lease and a router", container.is_automatic)
    yield container
    print(container.run(f"journalctl --no-pager --output=short-precise --since={since}"))
