# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The requests of a simulated host as words, on the command line or in a script.

A script has a step on each line; ``#`` begins a comment, words are quoted as for a shell.
After ``=>`` stands what is expected: a status (``HV_S_CONT``), or else the value of a get
or the key of an enumerate.  Without it HV_S_OK is expected.  A whole script is parsed before
its first step is taken.
"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from hv_kvp_daemon.cli import arguments
from hv_kvp_daemon.cli.command import Parser
from hv_kvp_daemon.service.options import UsageError
from hv_kvp_daemon.simhost import exchange
from hv_kvp_daemon.simhost.simulated_host import HostIpInfo
from hv_kvp_daemon.wire import uapi

if TYPE_CHECKING:
    from hv_kvp_daemon.simhost.exchange import Exchange
    from hv_kvp_daemon.simhost.simulated_host import SimulatedHost

_TYPES: Final = {"string": uapi.REG_SZ, "u32": uapi.REG_U32, "u64": uapi.REG_U64}

_FAMILIES: Final = {
    "none": uapi.ADDR_FAMILY_NONE,
    "ipv4": uapi.ADDR_FAMILY_IPV4,
    "ipv6": uapi.ADDR_FAMILY_IPV6,
    "both": uapi.ADDR_FAMILY_IPV4 | uapi.ADDR_FAMILY_IPV6,
}

_ARROW: Final = "=>"


class Step(NamedTuple):
    """A step as it was parsed, the word after ``=>``, and its line in the script."""

    options: argparse.Namespace
    expected: str | None = None
    line: int = 0


def take(host: SimulatedHost, options: argparse.Namespace) -> Exchange:
    """Make the request of a step.

    :raises HostError: there is no usable answer.
    :raises ValueError: a host's message cannot hold a text or number.
    """
    match options.action:
        case "set":
            kind = _TYPES[options.type]
            return exchange.set_key(host, options.pool, options.key, options.value, kind)
        case "get":
            return exchange.get_key(host, options.pool, options.key)
        case "delete":
            return exchange.delete_key(host, options.pool, options.key)
        case "enumerate":
            if options.index is None:
                return exchange.walk(host, options.pool)
            return exchange.enumerate_index(host, options.pool, options.index)
        case "intrinsic":
            return exchange.walk(host, uapi.KVP_POOL_AUTO)
        case "ip":
            return exchange.get_ip_info(host, options.adapter)
        case _:
            return exchange.set_ip_info(host, _ip_info(options))


def _ip_info(options: argparse.Namespace) -> HostIpInfo:
    family = options.family
    if family is None:
        family = (uapi.ADDR_FAMILY_IPV4 if "." in options.address else 0) | (
            uapi.ADDR_FAMILY_IPV6 if ":" in options.address else 0
        )
    return HostIpInfo(
        options.adapter,
        family,
        int(options.dhcp),
        options.address,
        options.subnet,
        options.gateway,
        options.dns,
    )


class _LineParser(Parser):
    """Raises an error in a script instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def read_script(name: str) -> list[Step]:
    """Parse the script in a file; ``-`` is standard input.

    :raises CommandError: the file cannot be read.
    :raises UsageError: it is not text, or a line is not a step.
    """
    try:
        text = arguments.read_input(name).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 text from byte {error.start} on") from error
    parser = _LineParser(prog=name, add_help=False)
    add_actions(parser.add_subparsers(dest="action", required=True, parser_class=_LineParser))
    steps, number = [], 0
    try:
        for number, line in enumerate(text.splitlines(), 1):
            words = shlex.split(line, comments=True)
            if words:
                steps.append(_step(parser, words, number))
    except ValueError as error:
        raise UsageError(f"{name}:{number}: {error}") from error
    return steps


def _step(parser: argparse.ArgumentParser, words: list[str], line: int) -> Step:
    if _ARROW not in words:
        return Step(parser.parse_args(words), None, line)
    at = words.index(_ARROW)
    if len(words) != at + 2:
        raise UsageError(f"{_ARROW} needs exactly one word after it")
    return Step(parser.parse_args(words[:at]), words[-1], line)


def add_actions(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the requests and their arguments."""
    added = actions.add_parser("set", help="SET a key to a text or a number")
    _add_pool_and_key(added)
    added.add_argument("value", metavar="VALUE")
    added.add_argument(
        "type", nargs="?", choices=tuple(_TYPES), default="string", help="of the value"
    )
    for name, purpose in (("get", "GET a key"), ("delete", "DELETE a key")):
        _add_pool_and_key(actions.add_parser(name, help=purpose))
    added = actions.add_parser("enumerate", help="ENUMERATE one index, or all of a pool")
    added.add_argument("pool", type=arguments.pool, metavar="POOL")
    added.add_argument("index", nargs="?", type=_index, metavar="INDEX")
    actions.add_parser("intrinsic", help="ENUMERATE all of the auto pool")
    added = actions.add_parser("ip", help="GET_IP_INFO of an adapter")
    added.add_argument("adapter", metavar="MAC", help="such as 00:15:5D:01:02:03")
    added = actions.add_parser("set-ip", help="SET_IP_INFO of an adapter")
    added.add_argument("adapter", metavar="GUID", help="such as {01234567-89ab-...}")
    for name in ("address", "subnet", "gateway", "dns"):
        added.add_argument(f"--{name}", default="", metavar="LIST", help="separated by ;")
    added.add_argument("--dhcp", action="store_true", help="say that DHCP is enabled")
    added.add_argument(
        "--family",
        type=_family,
        metavar="FAMILY",
        help="none, ipv4, ipv6, both or a number (default: those of the addresses)",
    )


def _add_pool_and_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pool", type=arguments.pool, metavar="POOL")
    parser.add_argument("key", metavar="KEY")


def _family(text: str) -> int:
    """Parse addr_family, a byte; a number may be one that no host sends."""
    if text in _FAMILIES:
        return _FAMILIES[text]
    if not text.isdecimal() or int(text) > 0xFF:
        raise argparse.ArgumentTypeError(f"{text!r} is no family and no byte")
    return int(text)


def _index(text: str) -> int:
    if not text.isdecimal() or len(text) > 10 or int(text) > 0xFFFFFFFF:
        raise argparse.ArgumentTypeError(f"{text!r} is not an index")
    return int(text)
