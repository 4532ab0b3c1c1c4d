# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The committed table of sizes, offsets and numbers agrees with the headers of the kernel."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hv_kvp_daemon.wire import uapi
from tests.driver import machine

TABLE = Path(machine.ROOT, "tests", "wire", "layout.tsv")
# In a header that user space is not given.  The lab's setup holds it against the kernel's
# source.
KERNEL_ONLY = {"HV_UTIL_TIMEOUT"}


@pytest.fixture(scope="module")
def compiled(lab: None) -> list[str]:
    """The output of layout.c, compiled in the lab with the headers of its kernel."""
    build = os.path.join(machine.LAB, "build")
    shutil.copy(os.path.join(machine.HERE, "layout.c"), os.path.join(build, "tmp"))
    command = "gcc -Wall -Werror -o /tmp/layout /tmp/layout.c && /tmp/layout"
    printed = subprocess.run(
        ["chroot", build, "sh", "-c", command], check=True, stdout=subprocess.PIPE, text=True
    )
    return printed.stdout.splitlines()


def test_the_committed_table_is_what_a_compiler_sees(compiled: list[str]) -> None:
    committed = TABLE.read_text(encoding="utf-8").splitlines()
    difference = list(
        difflib.unified_diff(committed, compiled, str(TABLE), "layout.c", lineterm="")
    )
    assert not difference, "\n".join(difference)


def test_every_number_of_the_project_is_the_headers_number(compiled: list[str]) -> None:
    rows = [row.split("\t") for row in compiled]
    headers = {row[0]: int(row[1]) for row in rows if len(row) == 2}
    ours = {
        name: value
        for name, value in vars(uapi).items()
        if isinstance(value, int) and name not in KERNEL_ONLY
    }
    assert ours
    assert ours == {name: headers.get(name) for name in ours}
