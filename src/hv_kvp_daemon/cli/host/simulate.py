"""``host``: a simulated Hyper-V host that talks to a daemon.

In: one request, or a script of them.  Out: the daemon's answers, checked as a host
checks them.
Rule: the daemon is a real one, on its own socket: one that is started for this,
with a temporary pool directory if none is named, or one that runs already.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from hv_kvp_daemon.cli import arguments, jsontext, tables, terminal
from hv_kvp_daemon.cli.command import (
    EXIT_DONE,
    EXIT_NOT_FOUND,
    EXIT_UNUSABLE,
    CommandError,
    UsageError,
)
from hv_kvp_daemon.cli.pools.watch import seconds
from hv_kvp_daemon.simhost import transcript
from hv_kvp_daemon.simhost.daemon_process import DaemonProcess
from hv_kvp_daemon.simhost.driver import Driver
from hv_kvp_daemon.simhost.errors import HostError
from hv_kvp_daemon.simhost.simulated_host import SimulatedHost
from hv_kvp_daemon.transport.choose import is_loopback
from hv_kvp_daemon.wire.message import status_name
from hv_kvp_daemon.wire.uapi import (
    HV_S_OK,
    HV_UTIL_TIMEOUT,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_SET_IP_INFO,
)

from . import script

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from .script import Result


def arguments_host(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``host``."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    run = actions.add_parser("run", help="take the steps of a script")
    run.add_argument(
        "script", metavar="SCRIPT", help="a file; - is standard input; see hv-kvp(1)"
    )
    script.add_actions(actions)
    for action in actions.choices.values():
        _add_options(action)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--transport",
        metavar="loopback:PATH",
        help="the daemon that was started with this option (default: one is started)",
    )
    parser.add_argument(
        "--pool-dir",
        metavar="DIR",
        help="the pools of the daemon that is started (default: a temporary directory)",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=float(HV_UTIL_TIMEOUT),
        metavar="SECONDS",
        help="give a request up after so long (default: %(default)g, as the driver does)",
    )
    arguments.add_json(parser)


def run_host(options: argparse.Namespace) -> int:
    """0 when all was answered as expected, 1 when not."""
    steps = _script(options.script) if options.action == "run" else []
    try:
        with _host(options) as host:
            if options.action == "run":
                return _run(host, steps, options.script, as_json=options.json)
            result = script.Step(options).take(host)
    except HostError as error:
        raise CommandError(str(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    return _show(result, as_json=options.json)


@contextlib.contextmanager
def _host(options: argparse.Namespace) -> Iterator[SimulatedHost]:
    if options.transport is not None:
        if not is_loopback(options.transport):
            raise UsageError(f"{options.transport!r} is not loopback:PATH")
        if options.pool_dir is not None:
            raise UsageError("--pool-dir is for the daemon that is started without --transport")
        path = options.transport.partition(":")[2]
        with SimulatedHost(Driver(path, options.timeout)) as host:
            yield host
        return
    with tempfile.TemporaryDirectory(prefix="hv-kvp-host-") as directory:
        path = f"{directory}/host"
        pools = os.path.abspath(options.pool_dir or f"{directory}/pools")
        words = ("-n", "--transport", f"loopback:{path}", "--pool-dir", pools)
        with DaemonProcess(*words, "--log-level", "warning") as daemon:
            try:
                with SimulatedHost(Driver(path, options.timeout)) as host:
                    yield host
            finally:
                for line in daemon.stderr.splitlines():
                    terminal.say(f"daemon: {line}")


def _script(name: str) -> list[tuple[int, script.Step]]:
    try:
        if name == "-":
            text = sys.stdin.read()
        else:
            with open(name, encoding="utf-8") as file:
                text = file.read()
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is no UTF-8 text: {error}") from error
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror}") from error
    return script.read_script(text, name)


def _run(
    host: SimulatedHost, steps: list[tuple[int, script.Step]], name: str, *, as_json: bool
) -> int:
    """Take the steps one after the other, up to the first that goes amiss."""
    if not as_json:
        print(transcript.heading())
    for number, step in steps:
        started = time.perf_counter()
        try:
            result = step.take(host)
        except ValueError as error:
            raise UsageError(f"{name}:{number}: {error}") from error
        elapsed = time.perf_counter() - started
        complaint = step.complaint(result)
        if as_json:
            jsontext.show_line({"line": number, "problem": complaint or None, **_plain(result)})
        else:
            operation, pool, subject, status, value, pairs = result
            print(transcript.exchange(operation, pool, subject, status, value, elapsed))
            for key, text in pairs or ():
                print(terminal.fit(f"    {terminal.safe(key)}: {terminal.safe(text)}", 80))
        if complaint:
            terminal.say(f"{name}:{number}: {complaint}")
            return EXIT_NOT_FOUND
    return EXIT_DONE


def _plain(result: Result) -> dict[str, object]:
    return {
        "operation": transcript.operation_name(result.operation),
        "pool": transcript.pool_name(result.pool),
        "subject": result.subject,
        "status": status_name(result.status),
        "value": result.value,
        **({} if result.pairs is None else {"pairs": result.pairs}),
    }


def _show(result: Result, *, as_json: bool) -> int:
    """One request's answer: what it brought, or why it brought nothing."""
    if as_json:
        jsontext.show(_plain(result))
    elif result.status == HV_S_OK:
        if result.pairs is not None:
            pairs = [(terminal.safe(key), terminal.safe(value)) for key, value in result.pairs]
            tables.show(("KEY", "VALUE"), pairs)
        elif result.operation == KVP_OP_GET:
            print(terminal.safe(result.value))
        elif result.operation == KVP_OP_ENUMERATE:
            key = result.subject.partition(" ")[2]
            print(terminal.safe(key), terminal.safe(result.value), sep="\t")
    if result.status == HV_S_OK:
        return EXIT_DONE
    operation = transcript.operation_name(result.operation)
    hint = ""
    if result.operation == KVP_OP_SET_IP_INFO:
        hint = "; this daemon does not change the network for a host"
    terminal.say(f"the daemon answers {operation} with {status_name(result.status)}{hint}")
    return EXIT_NOT_FOUND if script.is_missing(result) else EXIT_UNUSABLE
