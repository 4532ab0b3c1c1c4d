# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What the Markdown pages name exists: files, modules, and targets of make."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *(
        page
        for folder in ("docs", "tests", "benchmarks")
        for page in ROOT.glob(f"{folder}/**/*.md")
    ),
]
FOLDERS = "src|tests|docs|scripts|systemd|benchmarks|completions"


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
