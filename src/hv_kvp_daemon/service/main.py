# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The entry point of ``hv-kvp-daemon``: reads options, detaches, returns the exit status.

The status is 0 after SIGTERM or SIGINT, 1 if the daemon could not serve (one line in the
log says why), and 2 for a wrong command line.
"""

from __future__ import annotations

import os
import sys

from hv_kvp_daemon import __version__
from hv_kvp_daemon.guest.addresses import MissingModuleError, address_source
from hv_kvp_daemon.guest.auto_pool import AutoPool
from hv_kvp_daemon.guest.child import set_process_name
from hv_kvp_daemon.guest.fqdn import FqdnLookup
from hv_kvp_daemon.netconfig import injection
from hv_kvp_daemon.pools.directory import PoolDirectory
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.pools.place import OTHER_DIRECTORY, choose
from hv_kvp_daemon.transport.errors import TransportError
from hv_kvp_daemon.transport.selector import TransportSelector, is_loopback

from . import log as logs
from .dispatch import Dispatch
from .instance import AlreadyRunningError, take_if_writable
from .notify import Notifier
from .options import PROGRAM, UsageError, help_text, parse, usage
from .pool_watch import PoolWatch
from .program import PROCESS_NAME, execute_by_process_name
from .publish import Publisher
from .server import Server
from .signals import Signals
from .status_page import StatusPage, loopback_path, page_path
from .trace import netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .options import Options

EXIT_FAILURE = 1
EXIT_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon and return the exit status."""
    _open_standard_descriptors()
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
    except UsageError as error:
        print(f"{PROGRAM}: {error}\n{usage()}", file=sys.stderr)
        return EXIT_USAGE
    if options.help or options.version:
        print(help_text() if options.help else f"{PROGRAM} {__version__}")
        return 0
    level = logs.DEBUG if options.debug else logs.LEVELS[options.log_level]
    attached = options.foreground or options.no_daemon
    log = logs.Log(_log_target(options), level)
    if attached:
        return _serve(options, log, ready=lambda: None)
    execute_by_process_name()
    # The detached daemon runs in another directory.
    if options.pool_dir:
        options.pool_dir = os.path.abspath(options.pool_dir)
    options.run_dir = os.path.abspath(options.run_dir)
    return _detach(lambda ready: _serve(options, log, ready=ready), log)


def _serve(options: Options, log: logs.Log, ready: Callable[[], None]) -> int:
    logs.log_uncaught(log)
    _set_process_name()
    report = logs.Reporter(log)
    page = None
    try:
        if not options.pool_dir:
            options.pool_dir = _choose_pool_dir(log)
        # Held until the process ends.  A daemon for a simulated host does not use the
        # driver, so it needs no lock, and no root to take it.
        lock = None
        if not is_loopback(options.transport):
            lock = take_if_writable(options.run_dir, log.warning)
        page = StatusPage(
            _status_path(options),
            pool_dir=options.pool_dir,
            addresses=options.addresses,
            exclude=options.exclude_interface,
            report=report,
        )
        log.on_drop = page.count_dropped
        signals = Signals()
        pools = PoolDirectory(
            options.pool_dir,
            sync=not options.no_sync,
            report=report,
            pause=signals.pause,
        )
        pools.open_all()
        if options.clear_stale:
            from hv_kvp_daemon.pools.stale import clear_stale  # noqa: PLC0415

            clear_stale(pools, logs.Reporter(log, logs.NOTICE))
        auto_pool = AutoPool(
            address_source(options.addresses, options.exclude_interface),
            FqdnLookup(signals.wait, report),
            report=report,
        )
        selector = TransportSelector(
            options.transport,
            logs.Reporter(log, logs.NOTICE),
            log.dropped,
            trace=(lambda *seen: log.debug(netlink(*seen)))
            if log.level == logs.DEBUG
            else None,
        )
        publisher = Publisher(selector, Notifier(), page, options.pool_dir, report)
        watch = PoolWatch(options.pool_dir, publisher.report, signals)
        # A daemon that detached has no service manager that would start it again.
        report_failure = watch.report if options.no_daemon else publisher.report
        backend = _ip_backend(options)
        if backend != "none":
            injection.resume(signals.wait, log.info)
        dispatch = Dispatch(pools, auto_pool, report_failure, signals.wait, backend, log.info)
        trace = options.foreground or log.level == logs.DEBUG
        server = Server(
            pools, auto_pool, selector, dispatch, publisher, signals, log, trace=trace
        )
        log.info(f"hv-kvp-daemon {__version__} serves {options.pool_dir}")
        server.run(ready)
        server.close()
        pools.close()
        signals.close()
        if watch.is_replaced:
            log.error(f"pool directory ({options.pool_dir}): {watch.REASON}")
            return EXIT_FAILURE
        log.info("stopped by signal")
    except (AlreadyRunningError, MissingModuleError, PoolError, TransportError) as error:
        log.error(str(error))
        return EXIT_FAILURE
    except OSError as error:
        hint = "; run it as root" if os.geteuid() else ""
        log.error(f"cannot serve: {error}{hint}")
        return EXIT_FAILURE
    finally:
        if page is not None:
            page.remove()
    if lock is not None:
        os.close(lock)
    return 0


def _choose_pool_dir(log: logs.Log) -> str:
    place = choose()
    if place.is_split:
        log.warning(
            f"{place.path} is served, though cloud-init and others use {OTHER_DIRECTORY}:"
            f" {place.reason}; see hv-kvp doctor"
        )
    elif place.reason:
        log.notice(f"{place.path} is served: {place.reason}")
    return place.path


def _ip_backend(options: Options) -> str:
    # To try requests with a simulated host must not change this machine's network.
    default = "none" if is_loopback(options.transport) else "auto"
    return options.ip_backend or default


def _log_target(options: Options) -> Callable[[int, str], None]:
    if not logs.stderr_is_journal():
        return logs.to_terminal_with_time if options.foreground else logs.to_terminal
    # A journal that hangs must not block the daemon.  O_NONBLOCK belongs to the open
    # file, and no other program shares this one, as is possible with a terminal.
    os.set_blocking(2, False)
    return logs.to_journal


def _status_path(options: Options) -> str:
    if is_loopback(options.transport):
        return loopback_path(options.transport.partition(":")[2])
    return page_path(options.run_dir)


def _set_process_name() -> None:
    """Give the process the C daemon's name, if /proc is mounted."""
    try:
        set_process_name(PROCESS_NAME)
    except OSError as error:
        print(f"process name not set: {error}", file=sys.stderr)


def _open_standard_descriptors() -> None:
    """Open those of the descriptors 0, 1 and 2 that are closed.

    Otherwise a pool or pipe gets the number: lines for standard error would be written
    into it, and detaching would replace it.
    """
    for standard in (0, 1, 2):
        try:
            os.fstat(standard)
        except OSError:  # noqa: PERF203 - three times, at the start
            # open(2) returns the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)


def _detach(serve: Callable[[Callable[[], None]], int], log: logs.Log) -> int:
    """Serve in a child with a session of its own; return 0 when it calls ``ready``.

    If the child ends before, its exit status is returned.  Until then it uses this
    process's standard error, so that errors at the start are seen where the command was
    given.
    """
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        serving = os.read(read, 1)
        os.close(read)
        if serving:
            return 0
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or EXIT_FAILURE
    os.close(read)
    os.setsid()
    os.chdir("/")

    def ready() -> None:
        log.redirect(logs.to_syslog(PROCESS_NAME))
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        os.close(null)
        os.write(write, b"1")
        os.close(write)

    return serve(ready)
