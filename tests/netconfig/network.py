"""What these tests are about: interfaces, state files, questions and their answers."""

from __future__ import annotations

import select
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hv_kvp_daemon.netconfig.inquiry import Inquiry, inquire
from hv_kvp_daemon.netconfig.program import Answer, Question
from hv_kvp_daemon.netconfig.report import Report
from tests.support.network import IFA_F_NODAD, link

if TYPE_CHECKING:
    from pyroute2 import IPRoute

    from hv_kvp_daemon.netconfig.steps import Steps, T


def veth(ip: IPRoute, name: str, mac: str, *addresses: str) -> int:
    """A pair of links that are up, the first with these addresses; its index."""
    index = link(ip, name, f"{name}p")
    ip.link("set", index=index, address=mac)
    for address in addresses:
        add(ip, index, address)
    return index


def add(ip: IPRoute, index: int, address: str) -> None:
    """Give an interface an address that is usable at once."""
    text, _, length = address.partition("/")
    flags = {"flags": IFA_F_NODAD} if ":" in text else {}
    ip.addr("add", index=index, address=text, prefixlen=int(length), **flags)


def finish(inquiry: Inquiry) -> Report:
    """Do what the service's loop does until the report is there."""
    while inquiry.report is None:
        poll = select.poll()
        poll.register(inquiry.fileno(), select.POLLIN)
        assert inquiry.deadline is not None
        left = inquiry.deadline - time.monotonic()
        if poll.poll(max(0, int(left * 1000) + 1)):
            inquiry.on_event()
        else:
            inquiry.expire()
    return inquiry.report


def ask(mac: str, root: str = "/nowhere") -> Report:
    """The finished report of the interface with a MAC; what goes wrong fails the test."""

    def fail(problem: str) -> None:
        raise AssertionError(problem)

    inquiry = inquire(mac.encode(), fail, root)
    assert inquiry is not None
    return finish(inquiry)


def play(steps: Steps[T], *answers: str | Answer) -> tuple[T, list[tuple[str, ...]]]:
    """Answer the questions of steps in turn: what they return, and what was asked."""
    asked: list[tuple[str, ...]] = []
    coming = iter(answers)
    question: Question
    try:
        question = next(steps)
        while True:
            asked.append(question.argv)
            answer = next(coming)
            question = steps.send(Answer(answer) if isinstance(answer, str) else answer)
    except StopIteration as end:
        assert not list(coming)
        result: T = end.value
        return result, asked


def write(root: Path, path: str, text: str, mode: int = 0o644) -> Path:
    """A file below a root directory, with the directories above it."""
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def report(name: str = "eth0", index: int = 2, *, alone: bool = True) -> Report:
    """A report with nothing in it yet."""
    empty = Report(name=name, index=index, mac=bytes(6))
    empty.alone = alone
    return empty
