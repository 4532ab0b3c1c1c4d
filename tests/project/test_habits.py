# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The files for forges name what exists: targets, Pythons, and the report for an issue."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hv_kvp_daemon.cli.main import build_parser
from tests.cli.test_manual import options

ROOT = Path(__file__).parents[2]
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
RUN = (ROOT / ".ci/run").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def targets(text: str) -> set[str]:
    return set(re.findall(r"make ([a-z-]+)", text))


@pytest.mark.parametrize("text", [WORKFLOW, HOOKS, RUN], ids=["workflow", "hooks", "run"])
def test_what_is_run_is_a_target(text: str) -> None:
    commands = "\n".join(re.findall(r"^(?:.*(?:run|entry): )?(make .*)", text, re.MULTILINE))
    assert targets(commands)
    assert targets(commands) <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def test_the_forge_tests_each_python_that_is_supported() -> None:
    (matrix,) = re.findall(r"python: \[(.*)\]", WORKFLOW)
    tested = re.findall(r"3\.\d+", matrix)
    assert f"for version in {' '.join(tested)};" in MAKEFILE
    assert f"| Python | {tested[0]} to {tested[-1]} |" in README
    assert f'requires-python = ">={tested[0]}"' in PROJECT


def test_the_forge_runs_what_ci_runs() -> None:
    # The first two boot guests, for which systemd has to be the machine's first process.
    left_out = {"network-test", "package-test", "test-pythons"}
    assert targets(RUN) - left_out <= targets(WORKFLOW)


def test_an_issue_asks_for_a_report_that_the_command_writes() -> None:
    form = (ROOT / ".github/ISSUE_TEMPLATE/problem.yml").read_text(encoding="utf-8")
    assert "`hv-kvp doctor --report`" in form
    assert "--report" in options(build_parser())
