"""The poll loop: order, deadlines, descriptors that go while others are called."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator

import pytest

from hv_kvp_daemon.service.loop import Loop


@pytest.fixture
def pipes() -> Iterator[list[tuple[int, int]]]:
    pipes = [os.pipe() for _ in range(3)]
    yield pipes
    for pair in pipes:
        for fd in pair:
            os.close(fd)


def test_without_a_deadline_it_waits_for_a_descriptor(pipes: list[tuple[int, int]]) -> None:
    loop = Loop()
    called: list[int] = []
    loop.watch("one", [(pipes[0][0], select.POLLIN)], lambda fd, _: called.append(fd))
    os.write(pipes[0][1], b"x")
    loop.call(loop.wait(None))
    assert called == [pipes[0][0]]


def test_a_deadline_ends_the_wait_and_not_before() -> None:
    started = time.monotonic()
    assert Loop().wait(started + 0.05) == []
    assert 0.05 <= time.monotonic() - started < 10


def test_a_deadline_that_has_passed_does_not_wait(pipes: list[tuple[int, int]]) -> None:
    assert Loop().wait(0.0) == []


def test_groups_are_called_in_the_order_in_which_they_were_first_watched(
    pipes: list[tuple[int, int]],
) -> None:
    loop = Loop()
    called: list[str] = []
    for name, (read, write) in zip("abc", pipes, strict=True):
        loop.watch(name, [(read, select.POLLIN)], lambda *_, name=name: called.append(name))
        os.write(write, b"x")
    # Watched anew, the first would be polled last.
    loop.watch("a", [(pipes[0][0], select.POLLIN)], lambda *_: called.append("a"))
    loop.call(loop.wait(None))
    assert called == ["a", "b", "c"]


def test_what_another_handler_dropped_is_not_called(pipes: list[tuple[int, int]]) -> None:
    loop = Loop()
    called: list[str] = []

    def first(_fd: int, _events: int) -> None:
        called.append("first")
        loop.watch("second", [], first)

    loop.watch("first", [(pipes[0][0], select.POLLIN)], first)
    loop.watch("second", [(pipes[1][0], select.POLLIN)], lambda *_: called.append("second"))
    for _, write in pipes[:2]:
        os.write(write, b"x")
    loop.call(loop.wait(None))
    assert called == ["first"]
