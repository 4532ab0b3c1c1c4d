# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What docs/operations.md quotes of `doctor`, `status` and the log is what they write."""

from __future__ import annotations

import ast
import os
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hv_kvp_daemon.cli.service.doctor import diagnose, lines
from hv_kvp_daemon.cli.service.pool_facts import LockHolder, PoolFacts
from hv_kvp_daemon.cli.service.process_state import Stall
from hv_kvp_daemon.cli.service.system_facts import Rival
from hv_kvp_daemon.cli.service.unit_facts import UnitFacts
from hv_kvp_daemon.cli.service.unit_files import IP_UNIT_PATH, UNIT
from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.wire.uapi import HV_E_FAIL, KVP_OP_SET
from tests.cli.service.test_doctor import HEALTHY, daemon, failed, ours
from tests.support.command import call
from tests.support.daemon import RunningDaemon
from tests.support.emulator import require_own_process_image

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

POOL = "/var/opt/hyperv/.kvp_pool_0"
NO_FILE = f"pool 0 ({POOL}): is a directory, not a regular file"
PYTHON = "/opt/hv-kvp/bin/python3"
KVP_UNIT = "hypervkvpd.service"

#: The guest of each quotation of doctor, in the page's order, as it differs from a healthy one.
SITUATIONS: list[dict[str, Any]] = [
    {},
    {"offered": False},
    {"driver": False},
    {"rivals": [Rival(812, "hv_kvp_daemon", "holds /dev/vmbus/hv_kvp", KVP_UNIT)]},
    {"daemon": failed(KVP_OP_SET, NO_FILE), "pools": PoolFacts(not_pools={POOL: NO_FILE})},
    {"pools": PoolFacts(space_left=0)},
    {"pools": PoolFacts(read_only_mount="/")},
    {"pools": PoolFacts(is_replaced=True)},
    {"pools": PoolFacts(lock_holders=[LockHolder(POOL, "FLOCK READ", 4711, "backup.py")])},
    {"pools": PoolFacts(others_dir="/var/lib/hyperv", others_have_records=True)},
    {"units": UnitFacts()},
    {"units": ours(load="masked", active="inactive", file_state="masked")},
    {
        "units": ours(
            active="activating",
            restarts=9,
            last_line="another hv-kvp-daemon serves this machine (pid 4711)",
        ),
        "daemon_unit": "",
    },
    {
        "units": replace(
            ours(),
            program_fault=f"{PYTHON}, the interpreter of /opt/hv-kvp/bin/hv_kvp_daemon, is"
            " missing or not executable",
        )
    },
    {"stall": Stall("is stopped (SIGSTOP)", "kill -CONT 412")},
    {"daemon": daemon(version="0.9.0")},
]


def quoted(command: str) -> list[list[str]]:
    """The lines below each ``# command`` of the page, numbers and ages left out."""
    found = re.findall(rf"^    # {command}.*\n((?:    .*\n)+)", PAGE, re.MULTILINE)
    return [[plain(line[4:]) for line in block.splitlines()] for block in found]


def plain(line: str) -> str:
    """A line without what differs from one moment or machine to the next."""
    line = re.sub(r"\d+ (s|min|h|d) ago", "N ago", line)
    return re.sub(r"\d+", "N", line)


def is_excerpt(quotation: list[str], written: list[str]) -> bool:
    """Whether all lines are quoted, but for those in place of which there is an ellipsis."""
    pattern = "".join(
        "(?:.*\n)*" if line == "…" else re.escape(line) + "\n" for line in quotation
    )
    return re.fullmatch(pattern, "".join(f"{plain(line)}\n" for line in written)) is not None


def test_each_quotation_of_doctor_has_a_situation() -> None:
    assert len(quoted("hv-kvp doctor")) == len(SITUATIONS)


@pytest.mark.parametrize("number", range(len(SITUATIONS)))
def test_doctor_writes_what_the_page_quotes(number: int) -> None:
    written = [*lines(diagnose(replace(HEALTHY, **SITUATIONS[number])))]
    assert is_excerpt(quoted("hv-kvp doctor")[number], written), written


def test_the_log_is_asked_for_by_the_names_of_the_units() -> None:
    named = set(re.findall(r"-u ([a-z-]+)", PAGE))
    assert {f"{name}.service" for name in named} == {UNIT, os.path.basename(IP_UNIT_PATH)}


def test_status_writes_what_the_page_quotes() -> None:
    require_own_process_image()
    (quotation,) = quoted("hv-kvp status")
    with RunningDaemon() as running, running.host() as host:
        path = pool_path(running.pool_dir, 0)
        os.unlink(path)
        os.mkdir(path)
        assert host.set(0, "key", "value") == HV_E_FAIL
        out = call("status", f"--transport=loopback:{running.path}").out
        text = out.replace(running.pool_dir, "/var/opt/hyperv")
    assert is_excerpt(quotation, text.splitlines()), text


@cache
def sentences() -> list[re.Pattern[str]]:
    """The texts of the program, each with a wildcard for a value in it."""
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts: list[ast.expr] = []
            if isinstance(node, ast.JoinedStr):
                parts = node.values
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts = [node]
            texts = [str(part.value) for part in parts if isinstance(part, ast.Constant)]
            # A shorter one would match anything.
            if sum(len(text.split()) for text in texts) >= 3:
                found.append(
                    re.compile(
                        "".join(
                            re.escape(plain(str(part.value)))
                            if isinstance(part, ast.Constant)
                            else ".+"
                            for part in parts
                        )
                    )
                )
    return found


def is_written(text: str) -> bool:
    return any(each.fullmatch(text) for each in sentences())


@pytest.mark.parametrize("line", [line for block in quoted("journalctl") for line in block])
def test_the_log_can_have_the_line_that_the_page_quotes(line: str) -> None:
    """What names the pool, and what is behind a semicolon, may come from another module."""
    text = re.sub(r"^pool N \(\S+\): ", "", line)
    known = {"see: hv-kvp doctor", "using the char device"}
    assert (
        is_written(line)
        or is_written(text)
        or all(part in known or is_written(part) for part in text.split("; "))
    )


def test_the_log_cannot_have_any_line() -> None:
    assert not is_written("removed N records that are older than a boot")
    assert not is_written("no flock lock within N.N s, going on with fcntl")
