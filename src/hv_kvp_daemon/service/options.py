# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon's command line: a table of options and its parser.

argparse, with the modules ``re`` and ``gettext`` that it imports, would cost every guest
1 MiB and 5 ms at each start, half as much as all modules that the daemon imports.
"""

from __future__ import annotations

from hv_kvp_daemon.pools.place import OTHER_DIRECTORY, POOL_DIRECTORY

from .instance import RUN_DIRECTORY
from .log import LEVELS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

PROGRAM: Final = "hv-kvp-daemon"

DESCRIPTION: Final = "Serve the key/value pairs that this guest shares with its Hyper-V host."
EPILOG: Final = "Without an option, the daemon runs in the background and logs to syslog."

_HELP_COLUMN = 27
_TRANSPORTS = ("auto", "netlink", "chardev")


class UsageError(ValueError):
    """A wrong command line; the text says what is wrong with it."""


class Options:
    """The values of all options: those of the command line, or their defaults."""

    __slots__ = (
        "addresses",
        "clear_stale",
        "debug",
        "exclude_interface",
        "foreground",
        "help",
        "ip_backend",
        "log_level",
        "no_daemon",
        "no_sync",
        "pool_dir",
        "run_dir",
        "transport",
        "version",
    )

    def __init__(self) -> None:
        self.foreground = False
        self.no_daemon = False
        self.transport = "auto"
        #: Empty: `pools.place` chooses.
        self.pool_dir = ""
        self.run_dir = RUN_DIRECTORY
        self.addresses = "rtnetlink"
        self.exclude_interface: tuple[str, ...] = ()
        #: Empty: auto, but none for a simulated host.
        self.ip_backend = ""
        self.no_sync = False
        self.clear_stale = False
        self.debug = False
        self.log_level = "info"
        self.version = False
        self.help = False


class Option:
    """One row of the table: the spellings of an option, its name, and its help text.

    ``metavar`` is empty for a flag.  ``choices`` are all allowed values, if they can be
    listed.  A ``repeated`` option collects its values; of any other the last counts.
    """

    __slots__ = ("choices", "metavar", "name", "repeated", "spellings", "text")

    def __init__(
        self,
        spellings: str,
        text: str,
        metavar: str = "",
        choices: Sequence[str] = (),
        *,
        repeated: bool = False,
    ) -> None:
        self.spellings = spellings.split()
        self.name = self.spellings[-1].lstrip("-").replace("-", "_")
        self.metavar = metavar
        self.choices = choices
        self.repeated = repeated
        self.text = text


OPTIONS: Final = (
    Option("--foreground", "stay in the foreground and log each request, with the time"),
    Option("-n --no-daemon", "stay in the foreground, for a service manager"),
    Option(
        "--transport",
        "how to reach the driver: auto (the default), netlink, chardev;\n"
        "loopback:PATH serves a simulated host",
        "TRANSPORT",
    ),
    Option(
        "--run-dir",
        f"directory of lock and status page\n(default {RUN_DIRECTORY})",
        "DIR",
    ),
    Option(
        "--pool-dir",
        f"directory of the pool files (default {POOL_DIRECTORY},\n"
        f"or {OTHER_DIRECTORY} where other programs use that)",
        "DIR",
    ),
    Option(
        "--addresses",
        "source of the guest's addresses: rtnetlink (the default)\nor getifaddrs",
        "SOURCE",
        ("rtnetlink", "getifaddrs"),
    ),
    Option(
        "--exclude-interface",
        "leave the addresses of these interfaces out (docker*, veth*);\nmay be repeated",
        "GLOB",
        repeated=True,
    ),
    Option(
        "--ip-backend",
        "what applies the addresses that a host sets: auto (the default,\nthe manager of the"
        " interface), networkmanager, networkd, ifupdown,\ndirect, script, or none",
        "NAME",
        ("auto", "networkmanager", "networkd", "ifupdown", "direct", "script", "none"),
    ),
    Option("--no-sync", "acknowledge a change before it is on the disk"),
    Option("--clear-stale", "empty the host's pools (0 and 3) if older than this boot"),
    Option(
        "-d --debug",
        "log decoded fields and netlink headers; values only of pools\n"
        "that every user may read",
    ),
    Option(
        "--log-level",
        "error, warning, notice, info (the default) or debug",
        "LEVEL",
        tuple(LEVELS),
    ),
    Option("-V --version", "show the version and exit"),
    Option("-h --help", "show this help and exit"),
)

_BY_SPELLING = {spelling: option for option in OPTIONS for spelling in option.spellings}


def parse(arguments: Sequence[str]) -> Options:
    """Parse a command line: ``--name VALUE``, ``--name=VALUE``, ``-n``, ``-nd``.

    :raises UsageError: an option, a value or a combination of options is not valid.
    """
    options = Options()
    words = iter(_split(arguments))
    for word in words:
        spelling, equals, value = word.partition("=")
        option = _BY_SPELLING.get(spelling)
        if option is None:
            raise UsageError(f"unrecognized argument {word!r}")
        if not option.metavar:
            if equals:
                raise UsageError(f"{spelling} takes no value")
            setattr(options, option.name, True)
            continue
        value = value if equals else next(words, "")
        if not value:
            raise UsageError(f"{spelling} needs a value: {option.metavar}")
        if option.choices and value not in option.choices:
            raise UsageError(f"{spelling}: {value!r} is none of {', '.join(option.choices)}")
        before = getattr(options, option.name)
        setattr(options, option.name, (*before, value) if option.repeated else value)
    _check(options)
    return options


def _split(arguments: Sequence[str]) -> Iterator[str]:
    """Split combined short options: ``-nd`` becomes ``-n``, ``-d``."""
    for word in arguments:
        if len(word) > 2 and word[0] == "-" and word[1] != "-":
            yield from (f"-{letter}" for letter in word[1:])
        else:
            yield word


def _check(options: Options) -> None:
    if options.foreground and options.no_daemon:
        raise UsageError("--foreground is not allowed with --no-daemon")
    for glob in options.exclude_interface:
        if "/" in glob:
            raise UsageError(f"--exclude-interface: {glob!r}: no interface has a / in its name")
    kind, colon, path = options.transport.partition(":")
    if options.transport not in _TRANSPORTS and not (kind == "loopback" and colon and path):
        raise UsageError(
            f"no transport {options.transport!r}: auto, netlink, chardev or loopback:PATH"
        )


def usage() -> str:
    """Return the line that follows the message of a `UsageError`."""
    return f"usage: {PROGRAM} [OPTION]...   ({PROGRAM} --help lists them)"


def help_text() -> str:
    """Return the text of ``--help``, at most 96 columns wide."""
    lines = [f"usage: {PROGRAM} [OPTION]...", "", DESCRIPTION, EPILOG, ""]
    for option in OPTIONS:
        left = "  " + ", ".join(option.spellings)
        left += f" {option.metavar}" if option.metavar else ""
        first, *more = option.text.split("\n")
        lines.append(f"{left:<{_HELP_COLUMN}} {first}")
        lines += [" " * (_HELP_COLUMN + 1) + line for line in more]
    return "\n".join(lines)
