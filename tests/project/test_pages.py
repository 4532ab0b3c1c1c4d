# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What the Markdown pages name exists: files, links, modules, commands, targets of make."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

import hv_kvp_daemon
from hv_kvp_daemon.cli import main
from hv_kvp_daemon.cli.main import COMMANDS
from hv_kvp_daemon.cli.service import unit_files
from tests.cli.test_manual import options

ROOT = Path(__file__).parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *(
        page
        for folder in ("docs", "tests", "benchmarks", "packaging")
        for page in ROOT.glob(f"{folder}/**/*.md")
    ),
]
UNIT = ROOT / "systemd" / unit_files.UNIT
FOLDERS = "src|tests|docs|scripts|systemd|benchmarks|completions|packaging"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_files_and_targets_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    files = set(re.findall(rf"`((?:{FOLDERS})/[\w./@-]+)", text))
    assert {name for name in files if not (ROOT / name).exists()} == set()
    targets = set(re.findall(r"`make ([a-z-]+)", text))
    known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets <= {*known}


def test_the_architecture_names_modules_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    modules = set(re.findall(r"`([a-z]+(?:/[a-z_]+)*/[a-z_]+\.py)`", text))
    assert len(modules) > 10
    package = ROOT / "src" / "hv_kvp_daemon"
    assert {
        name for name in modules if not ((package / name).exists() or (ROOT / name).exists())
    } == set()


def anchors(page: Path) -> set[str]:
    """The fragments by which a page's headings are found."""
    headings = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_to_a_file_and_to_a_heading_of_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, fragment = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.is_file(), target
        assert not fragment or fragment in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_command_in_a_sentence_is_one_of_hv_kvp(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for line in re.findall(r"`hv-kvp ([a-z][^`\n]*)`", text):
        name, *words = line.replace("[", "").replace("]", "").split()
        assert name in COMMANDS, line
        command = main.find(name)
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        known = {*options(parser), "--help"}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_the_library_page_has_each_public_name() -> None:
    text = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\.\. auto(?:class|data|exception):: (\w+)$", text, re.MULTILINE)
    assert sorted(documented) == sorted(hv_kvp_daemon.__all__)


def test_the_sandbox_page_has_each_line_of_the_unit() -> None:
    """Those that say what is started, when and how often are no sandbox."""
    (unit,) = re.findall(
        r"^\[Service\]\n((?:.|\n)*)", UNIT.read_text(encoding="utf-8"), re.MULTILINE
    )
    lines = dict(
        line.split("=", 1) for line in unit.splitlines() if re.match(r"[A-Z]\w+=", line)
    )
    other = re.compile("Type|Exec.*|TimeoutStopSec|Restart(Sec|Prevent.*)?|RuntimeDirectory.+")
    sandbox = {name for name in lines if not other.fullmatch(name)}
    page = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    named = dict(
        word.partition("=")[::2] for row in rows for word in re.findall(r"`([^`]+)`", row)
    )
    assert named.keys() == sandbox
    assert {name: value for name, value in named.items() if value} == {
        name: lines[name] for name, value in named.items() if value
    }
    absent = set(re.findall(r"`([A-Z]\w+)`", page.rpartition("Not in the unit")[2]))
    assert not absent & lines.keys()
