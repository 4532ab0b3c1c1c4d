# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``host``: a simulated Hyper-V host that talks to a real daemon.

The daemon is one that runs already, on the socket of ``--transport``, or is started for the
command, with a temporary pool directory unless one is named.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hv_kvp_daemon.cli import arguments, jsontext, tables, terminal
from hv_kvp_daemon.cli.command import (
    EXIT_DONE,
    EXIT_NOT_FOUND,
    EXIT_UNUSABLE,
    Command,
    CommandError,
)
from hv_kvp_daemon.service.options import UsageError
from hv_kvp_daemon.simhost import transcript
from hv_kvp_daemon.simhost.daemon_process import DaemonProcess
from hv_kvp_daemon.simhost.errors import HostError
from hv_kvp_daemon.simhost.simulated_driver import SimulatedDriver
from hv_kvp_daemon.simhost.simulated_host import SimulatedHost
from hv_kvp_daemon.wire import uapi
from hv_kvp_daemon.wire.message import status_name

from . import script

if TYPE_CHECKING:
    from hv_kvp_daemon.simhost.exchange import Exchange


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_json(parser)
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    run = actions.add_parser("run", help="run a script of requests")
    run.add_argument(
        "script", metavar="SCRIPT", help="a file; - is standard input; see hv-kvp(1)"
    )
    script.add_actions(actions)
    for action in actions.choices.values():
        _add_options(action)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--transport",
        type=arguments.loopback,
        metavar="loopback:PATH",
        help="the daemon that was started with this option (default: one is started)",
    )
    parser.add_argument(
        "--pool-dir",
        type=arguments.path,
        metavar="DIR",
        help="the pools of the daemon that is started (default: a temporary directory)",
    )
    parser.add_argument(
        "--timeout",
        type=arguments.seconds,
        default=float(uapi.HV_UTIL_TIMEOUT),
        metavar="SECONDS",
        help="how long to wait for an answer (default: %(default)g, as the driver does)",
    )
    # Without a default, which would replace what was given before the action.
    arguments.add_json(parser, default=argparse.SUPPRESS)


def _host(options: argparse.Namespace) -> int:
    steps = script.read_script(options.script) if options.action == "run" else []
    try:
        with _connected(options) as host:
            if options.action == "run":
                return _run(host, steps, options.script, as_json=options.json)
            exchange = script.take(host, options)
    except HostError as error:
        raise CommandError(str(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    return _show(exchange, as_json=options.json)


@contextlib.contextmanager
def _connected(options: argparse.Namespace) -> Iterator[SimulatedHost]:
    if options.transport is not None:
        if options.pool_dir is not None:
            raise UsageError("--pool-dir is for the daemon that is started without --transport")
        with SimulatedHost(SimulatedDriver(options.transport, options.timeout)) as host:
            yield host
        return
    with tempfile.TemporaryDirectory(prefix="hv-kvp-host-") as directory:
        path = f"{directory}/host"
        pools = os.path.abspath(options.pool_dir or f"{directory}/pools")
        words = ("-n", "--transport", f"loopback:{path}", "--pool-dir", pools)
        with DaemonProcess(*words, "--log-level", "warning") as daemon:
            try:
                with SimulatedHost(SimulatedDriver(path, options.timeout)) as host:
                    yield host
            finally:
                for line in daemon.stderr.splitlines():
                    terminal.say(f"daemon: {line}")


def _run(host: SimulatedHost, steps: list[script.Step], name: str, *, as_json: bool) -> int:
    """Take one step after the other, up to the first whose answer is not as expected."""
    if not as_json:
        print(transcript.heading())
    for step in steps:
        started = time.perf_counter()
        try:
            exchange = script.take(host, step.options)
        except ValueError as error:
            raise UsageError(f"{name}:{step.line}: {error}") from error
        elapsed = time.perf_counter() - started
        mismatch = exchange.mismatch(step.expected)
        if as_json:
            document = {"line": step.line, "problem": mismatch or None, **_document(exchange)}
            jsontext.show_line(document)
        else:
            print(transcript.line(exchange, elapsed))
            for key, text in exchange.pairs or ():
                print(terminal.fit(f"    {terminal.safe(key)}: {terminal.safe(text)}", 80))
        if mismatch:
            terminal.say(f"{name}:{step.line}: {mismatch}")
            return EXIT_NOT_FOUND
    return EXIT_DONE


def _document(exchange: Exchange) -> dict[str, object]:
    return {
        "operation": transcript.operation_name(exchange.operation),
        "pool": transcript.pool_name(exchange.pool),
        "subject": exchange.subject,
        "status": status_name(exchange.status),
        "value": exchange.value,
        **({} if exchange.pairs is None else {"pairs": exchange.pairs}),
    }


def _show(exchange: Exchange, *, as_json: bool) -> int:
    """Write the answer to one request, or its error status; the exit status."""
    if as_json:
        jsontext.show(_document(exchange))
    elif exchange.status == uapi.HV_S_OK:
        if exchange.pairs is not None:
            pairs = [
                (terminal.safe(key), terminal.safe(value)) for key, value in exchange.pairs
            ]
            tables.show(("KEY", "VALUE"), pairs)
        elif exchange.operation == uapi.KVP_OP_GET:
            print(terminal.safe(exchange.value))
        elif exchange.operation == uapi.KVP_OP_ENUMERATE:
            key = exchange.subject.partition(" ")[2]
            print(terminal.safe(key), terminal.safe(exchange.value), sep="\t")
    if exchange.status == uapi.HV_S_OK:
        return EXIT_DONE
    operation = transcript.operation_name(exchange.operation)
    hint = ""
    if exchange.status == uapi.HV_ERROR_NOT_SUPPORTED:
        hint = "; with a simulated host it needs the option --ip-backend"
    terminal.say(f"the daemon answers {operation} with {status_name(exchange.status)}{hint}")
    return EXIT_NOT_FOUND if exchange.status == uapi.HV_S_CONT else EXIT_UNUSABLE


HOST = Command(
    "host", "simulate a Hyper-V host, to try a daemon or an image", _add_arguments, _host
)
