"""Waiting for a descriptor."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from hv_kvp_daemon.cli.waiting import readable


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_what_is_readable_is_reported_at_once(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"x")
    assert readable(pipe[0], None)
    assert readable(pipe[0], time.monotonic() + 3_000_000)  # more than poll(2) takes


def test_the_deadline_ends_the_wait(pipe: tuple[int, int]) -> None:
    deadline = time.monotonic() + 0.05
    assert not readable(pipe[0], deadline)
    assert time.monotonic() >= deadline


def test_a_deadline_that_has_passed_wins_over_what_is_readable(pipe: tuple[int, int]) -> None:
    """A pool that changes all the time must not keep `watch --timeout` from ending."""
    os.write(pipe[1], b"x")
    assert not readable(pipe[0], time.monotonic())
