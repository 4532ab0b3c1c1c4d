"""Completions of ``hv-kvp`` for bash and zsh, generated from its parser.

``python -m tests.support.completions`` writes them.  They are generated in advance, since
starting Python would cost 30 ms at each TAB.
"""

from __future__ import annotations

import argparse
import os

import shtab

from hv_kvp_daemon.cli.main import build_parser
from hv_kvp_daemon.pools.directory import POOL_NAMES

FOLDER = os.path.join(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "completions"
)
FILES = {"bash": "hv-kvp.bash", "zsh": "_hv-kvp"}

_KINDS = {"DIR": shtab.DIRECTORY, "FILE": shtab.FILE, "SCRIPT": shtab.FILE}


def build(shell: str) -> str:
    """Return the completions for one shell."""
    parser = build_parser()
    _describe(parser)
    return shtab.complete(parser, shell).rstrip() + "\n"


def _describe(parser: argparse.ArgumentParser) -> None:
    """Set the values or the kind of file that complete each argument."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in dict.fromkeys(action.choices.values()):
                _describe(each)
        elif action.metavar == "POOL":
            action.choices = list(POOL_NAMES.values())
        elif action.metavar in _KINDS:
            action.complete = _KINDS[str(action.metavar)]  # type: ignore[attr-defined]  # shtab's


def main() -> None:
    os.makedirs(FOLDER, exist_ok=True)
    for shell, name in FILES.items():
        with open(os.path.join(FOLDER, name), "w", encoding="utf-8") as file:
            file.write(build(shell))


if __name__ == "__main__":
    main()
