# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.support.command import OrdinaryUser, Pools, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@pytest.fixture
def pools(tmp_path: object) -> Pools:
    return Pools(f"{tmp_path}/pools")


@pytest.fixture
def on_terminal(pools: Pools) -> Iterator[Callable[..., Terminal]]:
    """Start a command on a terminal; whatever is left of it ends with the test."""
    started: list[Terminal] = []

    def start(*words: str, columns: int = 80, env: Mapping[str, str] | None = None) -> Terminal:
        terminal = Terminal(*words, "--pool-dir", pools.path, columns=columns, env=env)
        started.append(terminal)
        return terminal

    yield start
    for terminal in started:
        terminal.__exit__()


@pytest.fixture
def user() -> Iterator[OrdinaryUser]:
    with tempfile.TemporaryDirectory(prefix="hv-kvp-test-") as path:
        os.chmod(path, 0o755)
        yield OrdinaryUser(path)
        os.chmod(path, 0o755)
