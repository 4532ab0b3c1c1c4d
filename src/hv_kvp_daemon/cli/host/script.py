"""What a simulated host can ask, as words: of a command line or of a script's line.

In: words.  Out: a `Step` that a `SimulatedHost` can take, and its `Result`.
Rule: one grammar for both; a step is complete before a daemon is asked anything.

A script has a step on each line, ``#`` begins a comment, words are quoted as for
a shell.  ``=>`` and one word behind a step say what should come: a status
(``HV_S_CONT``), or else the value of a get, or the key of an enumerate.  Without
it HV_S_OK is expected.
"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from hv_kvp_daemon.cli import arguments
from hv_kvp_daemon.cli.command import UsageError
from hv_kvp_daemon.simhost.simulated_host import IpInfo
from hv_kvp_daemon.wire.message import status_name
from hv_kvp_daemon.wire.uapi import (
    ADDR_FAMILY_IPV4,
    ADDR_FAMILY_IPV6,
    HV_S_CONT,
    HV_S_OK,
    HV_STATUS_NAMES,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_GET_IP_INFO,
    KVP_OP_SET,
    KVP_OP_SET_IP_INFO,
    KVP_POOL_AUTO,
    REG_SZ,
    REG_U32,
    REG_U64,
)

if TYPE_CHECKING:
    from hv_kvp_daemon.simhost.simulated_host import SimulatedHost

_TYPES: Final = {"string": REG_SZ, "u32": REG_U32, "u64": REG_U64}

_ARROW: Final = "=>"


class Result(NamedTuple):
    """What came of a step; ``pairs`` is the list of a whole walk or of an adapter's fields."""

    operation: int
    pool: int
    subject: str
    status: int
    value: str = ""
    pairs: list[tuple[str, str]] | None = None


class Step(NamedTuple):
    """One request (or one walk), and the word behind ``=>``."""

    options: argparse.Namespace
    expected: str | None = None

    def take(self, host: SimulatedHost) -> Result:
        """Ask the daemon.

        :raises HostError: there is no usable answer.
        :raises ValueError: a host's message cannot hold it.
        """
        result: Result = _ACTIONS[self.options.action](host, self.options)
        return result

    def complaint(self, result: Result) -> str:
        """What is not as expected, or nothing."""
        wanted, name = self.expected, status_name(result.status)
        if wanted is None or wanted in HV_STATUS_NAMES.values():
            wanted = wanted or status_name(HV_S_OK)
            return "" if name == wanted else f"{wanted} was expected, {name} came"
        if result.status != HV_S_OK:
            return f"{wanted!r} was expected, {name} came"
        got = result.subject.partition(" ")[2] if _is_enumerate(result) else result.value
        return "" if got == wanted else f"{wanted!r} was expected, {got!r} came"


def _is_enumerate(result: Result) -> bool:
    return result.operation == KVP_OP_ENUMERATE


class _LineParser(argparse.ArgumentParser):
    """Reports a script's error instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def read_script(text: str, name: str) -> list[tuple[int, Step]]:
    """The steps of a script with the numbers of their lines.

    :raises UsageError: a line is no step; the text says which.
    """
    parser = _LineParser(prog=name, add_help=False)
    add_actions(parser.add_subparsers(dest="action", required=True, parser_class=_LineParser))
    steps, number = [], 0
    try:
        for number, line in enumerate(text.splitlines(), 1):
            words = shlex.split(line, comments=True)
            if words:
                steps.append((number, _step(parser, words)))
    except (ValueError, UsageError) as error:
        raise UsageError(f"{name}:{number}: {error}") from error
    return steps


def _step(parser: argparse.ArgumentParser, words: list[str]) -> Step:
    if _ARROW not in words:
        return Step(parser.parse_args(words))
    at = words.index(_ARROW)
    if len(words) != at + 2:
        raise UsageError(f"{_ARROW} wants exactly one word behind it")
    return Step(parser.parse_args(words[:at]), words[-1])


def add_actions(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The arguments of each action."""
    added = actions.add_parser("set", help="SET a key, as a text or a number")
    _add_pool_and_key(added)
    added.add_argument("value", metavar="VALUE")
    added.add_argument(
        "type", nargs="?", choices=tuple(_TYPES), default="string", help="of the value"
    )
    for name, purpose in (("get", "GET a key"), ("delete", "DELETE a key")):
        _add_pool_and_key(actions.add_parser(name, help=purpose))
    added = actions.add_parser("enumerate", help="ENUMERATE one index, or walk a pool")
    added.add_argument("pool", type=arguments.pool, metavar="POOL")
    added.add_argument("index", nargs="?", type=_index, metavar="INDEX")
    actions.add_parser("intrinsic", help="walk the auto pool")
    added = actions.add_parser("ip", help="GET_IP_INFO of an adapter")
    added.add_argument("adapter", metavar="MAC", help="as 00:15:5D:01:02:03")
    added = actions.add_parser("set-ip", help="SET_IP_INFO, and the daemon's answer to it")
    added.add_argument("adapter", metavar="GUID", help="as {01234567-89ab-...}")
    for name in ("address", "subnet", "gateway", "dns"):
        added.add_argument(f"--{name}", default="", metavar="LIST", help="separated by ;")
    added.add_argument("--dhcp", action="store_true")


def _add_pool_and_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pool", type=arguments.pool, metavar="POOL")
    parser.add_argument("key", metavar="KEY")


def _index(text: str) -> int:
    if not text.isdecimal() or int(text) > 0xFFFFFFFF:
        raise argparse.ArgumentTypeError(f"{text!r} is no index")
    return int(text)


def _set(host: SimulatedHost, options: argparse.Namespace) -> Result:
    kind = _TYPES[options.type]
    status = host.set(options.pool, options.key, options.value, kind)
    return Result(KVP_OP_SET, options.pool, options.key, status, options.value)


def _get(host: SimulatedHost, options: argparse.Namespace) -> Result:
    status, value = host.get(options.pool, options.key)
    return Result(KVP_OP_GET, options.pool, options.key, status, value)


def _delete(host: SimulatedHost, options: argparse.Namespace) -> Result:
    status = host.delete(options.pool, options.key)
    return Result(KVP_OP_DELETE, options.pool, options.key, status)


def _enumerate(host: SimulatedHost, options: argparse.Namespace) -> Result:
    if options.index is None:
        return _walk(host, options.pool)
    status, key, value = host.enumerate(options.pool, options.index)
    subject = f"{options.index} {key}"
    return Result(KVP_OP_ENUMERATE, options.pool, subject, status, value)


def _intrinsic(host: SimulatedHost, options: argparse.Namespace) -> Result:
    del options
    return _walk(host, KVP_POOL_AUTO)


def _walk(host: SimulatedHost, pool: int) -> Result:
    pairs = list(host.items(pool))
    value = f"{len(pairs)} records"
    return Result(KVP_OP_ENUMERATE, pool, "all", HV_S_OK, value, pairs)


def _ip(host: SimulatedHost, options: argparse.Namespace) -> Result:
    status, info = host.get_ip_info(options.adapter)
    pairs = _fields(info) if status == HV_S_OK else None
    return Result(KVP_OP_GET_IP_INFO, 0, options.adapter, status, info.ip, pairs)


def _fields(info: IpInfo) -> list[tuple[str, str]]:
    names = {ADDR_FAMILY_IPV4: "IPv4", ADDR_FAMILY_IPV6: "IPv6"}
    families = [name for bit, name in names.items() if info.family & bit]
    return [
        ("adapter", info.adapter),
        ("families", " ".join(families)),
        ("dhcp", "yes" if info.dhcp else "no"),
        ("addresses", info.ip),
        ("subnets", info.subnet),
        ("gateways", info.gateway),
        ("dns", info.dns),
    ]


def _set_ip(host: SimulatedHost, options: argparse.Namespace) -> Result:
    family = (ADDR_FAMILY_IPV4 if "." in options.address else 0) | (
        ADDR_FAMILY_IPV6 if ":" in options.address else 0
    )
    info = IpInfo(
        options.adapter,
        family,
        int(options.dhcp),
        options.address,
        options.subnet,
        options.gateway,
        options.dns,
    )
    return Result(KVP_OP_SET_IP_INFO, 0, options.adapter, host.set_ip_info(info))


_ACTIONS: Final = {
    "set": _set,
    "get": _get,
    "delete": _delete,
    "enumerate": _enumerate,
    "intrinsic": _intrinsic,
    "ip": _ip,
    "set-ip": _set_ip,
}


def is_missing(result: Result) -> bool:
    """Whether the daemon says that there is no such thing."""
    return result.status == HV_S_CONT
