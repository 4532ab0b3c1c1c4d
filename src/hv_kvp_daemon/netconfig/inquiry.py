"""Finding out a report: at once, or by asking programs one after the other.

In: an ``adapter_id``.  Out: a `Report`, now or later.
Rules: nothing here waits.  For a plain guest no process is started; where one is
(an installed script, nmcli, resolvectl), the service polls its pipe and minds the
`deadline`.  Whatever the programs do, the report is there within `LIMIT` seconds.
"""

from __future__ import annotations

import time

from hv_kvp_daemon.guest import rtnetlink
from hv_kvp_daemon.wire.uapi import RT_SCOPE_LINK

from . import dhcp, resolver
from .adapter import find_interface, parse_mac
from .program import Answer, Program
from .report import make_report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.wire.rtnetlink import Address, Link

    from .program import Question
    from .report import Report
    from .steps import Steps

#: Seconds for all programs together.  The driver gives a request up after 30.
LIMIT = 9.5


def inquire(
    adapter_id: bytes, problem: Callable[[str], None], root: str = "/"
) -> Inquiry | None:
    """Begin to find out about the adapter with this MAC; None if no interface has it.

    ``problem`` is told, a line at a time, what a program did wrong.

    :raises OSError: the kernel does not tell its links, addresses or routes.
    """
    mac = parse_mac(adapter_id)
    if mac is None:
        return None
    links = rtnetlink.links()
    addresses = [address for address in rtnetlink.addresses() if address.usable]
    link = find_interface(mac, links, addresses)
    if link is None:
        return None
    report = make_report(
        link, addresses, rtnetlink.default_routes(), alone=_alone(link, links, addresses)
    )
    return Inquiry(report, problem, root)


def _alone(link: Link, links: list[Link], addresses: list[Address]) -> bool:
    """Whether no other interface has an address that reaches beyond its own link."""
    ours = {link.index, *(each.index for each in links if each.loopback)}
    return not any(
        address.index not in ours and address.scope < RT_SCOPE_LINK for address in addresses
    )


class Inquiry:
    """A report in the making.

    ``report`` is None until all is known; then `fileno` is -1.
    """

    __slots__ = ("_ends", "_problem", "_program", "_steps", "_unfinished", "report")

    def __init__(self, report: Report, problem: Callable[[str], None], root: str = "/") -> None:
        self.report: Report | None = None
        self._unfinished = report
        self._problem = problem
        self._program: Program | None = None
        self._ends = time.monotonic() + LIMIT
        self._steps = _fill_in(report, problem, root)
        self._advance(None)

    def fileno(self) -> int:
        """Return the descriptor that is readable when to call `on_event`, or -1."""
        return -1 if self._program is None else self._program.fileno()

    @property
    def deadline(self) -> float | None:
        """When to call `expire`, by time.monotonic(); None when nothing is waited for."""
        return None if self._program is None else self._program.deadline

    def on_event(self) -> None:
        """Take what the program has written."""
        if self._program is not None:
            self._continue(self._program.on_event())

    def expire(self) -> None:
        """Go on without the program, if its time is over."""
        if self._program is not None:
            self._continue(self._program.expire())

    def close(self) -> None:
        """Give up: end the program that still runs."""
        if self._program is not None:
            self._program.close()
            self._program = None
        self._steps.close()

    def _continue(self, answer: Answer | None) -> None:
        if answer is not None:
            self._program = None
            self._advance(answer)

    def _advance(self, answer: Answer | None) -> None:
        """Go on to the next program that runs, or to the end."""
        try:
            question = self._steps.send(answer) if answer else next(self._steps)
            while (answer := self._start(question)) is not None:
                question = self._steps.send(answer)
        except StopIteration:
            self.report = self._unfinished

    def _start(self, question: Question) -> Answer | None:
        """Start a program; an answer if that cannot be done."""
        now = time.monotonic()
        question.seconds = min(question.seconds, self._ends - now)
        if question.seconds <= 0:
            return Answer(None, f"{question.argv[0]}: no time left")
        try:
            self._program = Program(question, now)
        except OSError as error:
            return Answer(None, f"{question.argv[0]}: {error.strerror}")
        return None


def _fill_in(report: Report, problem: Callable[[str], None], root: str) -> Steps[None]:
    report.dhcp = yield from dhcp.uses_dhcp(root, report, problem)
    report.dns = yield from resolver.servers(root, report, problem)
