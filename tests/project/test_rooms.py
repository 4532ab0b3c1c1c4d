# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Imports between packages have one direction, and the daemon imports nothing expensive."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "hv_kvp_daemon"

#: The other packages that a package may import.
MAY_IMPORT = {
    "wire": set(),
    "transport": {"wire"},
    "pools": {"wire"},
    "guest": {"wire"},
    "netconfig": {"wire", "guest"},
    "service": {"wire", "transport", "pools", "guest", "netconfig"},
    "library": {"wire", "pools", "service"},
    "simhost": {"wire", "pools"},
    "cli": {"wire", "transport", "pools", "guest", "netconfig", "service", "simhost"},
}

#: Modules that would cost every guest memory or start-up time.
TOO_EXPENSIVE = {
    *("asyncio", "psutil", "pyroute2", "netifaces", "logging", "dataclasses", "typing"),
    *("subprocess", "pathlib", "json", "tempfile", "threading", "ctypes", "ipaddress"),
}

#: Modules for other programs, in a package of which the daemon imports the rest.
FOR_OTHERS = {
    "hv_kvp_daemon.netconfig.injection_child",
    "hv_kvp_daemon.netconfig.injection_request",
    "hv_kvp_daemon.netconfig.settings",
    "hv_kvp_daemon.pools.edit",
    "hv_kvp_daemon.library",
    "hv_kvp_daemon.service.status",
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports, by their dotted names below the package."""
    here = list(path.relative_to(PACKAGE).with_suffix("").parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = here[: len(here) - node.level]
                found.add(".".join([*base, *(node.module or "").split(".")]).strip("."))
            elif (node.module or "").startswith("hv_kvp_daemon"):
                found.add((node.module or "").removeprefix("hv_kvp_daemon").strip("."))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_the_rooms_that_it_may(path: Path) -> None:
    parts = path.relative_to(PACKAGE).parts
    room = parts[0].removesuffix(".py")
    if room in {"__init__", "__main__"}:
        return
    allowed = MAY_IMPORT[room] | {room, ""}
    assert {name.split(".")[0] for name in imported(path)} <= allowed


def test_every_room_is_listed() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms <= MAY_IMPORT.keys()


def test_the_resident_daemon_imports_nothing_expensive() -> None:
    code = "import sys, hv_kvp_daemon.service.main; print(*sys.modules)"
    # -S: a site-packages with .pth files imports on its own account.
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); {code}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    names = set(done.stdout.split())
    assert names & FOR_OTHERS == set()
    roots = {name.split(".")[0] for name in names}
    assert roots & TOO_EXPENSIVE == set()
    assert "hv_kvp_daemon" in roots
