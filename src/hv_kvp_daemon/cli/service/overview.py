# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``hv-kvp`` without a command: whether the daemon serves, and how many records there are."""

from __future__ import annotations

import argparse
import os

from hv_kvp_daemon.cli import arguments, jsontext, tables, terminal
from hv_kvp_daemon.cli.command import EXIT_UNUSABLE, Command, CommandError
from hv_kvp_daemon.cli.pools import pool_info

from . import show_status

# The lines of `hv-kvp status` that are shown.
_LINES = frozenset({"Daemon", "Transport", "Requests"})


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_pool_dir(parser)
    arguments.add_transport(parser)
    arguments.add_run_dir(parser)
    arguments.add_json(parser)


def _overview(options: argparse.Namespace) -> int:
    facts = {"running": False, "serving": False}
    trouble = ""
    try:
        facts = show_status.gather(options)
        if not facts["running"]:
            trouble = show_status.not_running()
    except CommandError as error:
        trouble = str(error)
    directory = arguments.directory(options)
    pools = pool_info.collect(directory, arguments.FILES)
    if options.json:
        jsontext.show({"status": facts, "pool_dir": directory, "pools": pools})
    else:
        lines = [("Daemon", terminal.safe(trouble))]
        if not trouble:
            lines = [each for each in show_status.page(facts) if each[0] in _LINES]
        missing = "" if os.path.isdir(directory) else " (missing)"
        show_status.show_lines([*lines, ("Pools", f"{terminal.safe(directory)}{missing}")])
        tables.show(
            ("POOL", "RECORDS"), [(pool["pool"], pool_info.count(pool)) for pool in pools]
        )
    if any(pool["records"] is None for pool in pools):
        return EXIT_UNUSABLE
    return show_status.exit_status(facts)


OVERVIEW = Command(
    "overview",
    "show whether the daemon serves, and the pools (without a command: the same)",
    _add_arguments,
    _overview,
)
