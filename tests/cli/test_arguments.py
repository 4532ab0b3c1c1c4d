# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What several commands take."""

from __future__ import annotations

import argparse
import io
import os
import sys
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon import Pool
from hv_kvp_daemon.cli import arguments
from hv_kvp_daemon.cli.command import CommandError, Parser
from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.service import status
from hv_kvp_daemon.service.status import DaemonStatus, StatusError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def options(pool_dir: object) -> argparse.Namespace:
    return argparse.Namespace(pool_dir=pool_dir)


@pytest.mark.parametrize(
    ("parse", "word", "value"),
    [
        (arguments.pool, "auto", 2),
        (arguments.file_pool, "4", 4),
        (arguments.key, "ключ", "ключ".encode()),
        (arguments.text, "", b""),
        (arguments.text, "\udcff", b"\xff"),
        (arguments.seconds, "1.5", 1.5),
        (arguments.loopback, "loopback:/a:b", "/a:b"),
    ],
)
def test_an_argument_is_parsed(
    parse: Callable[[str], object], word: str, value: object
) -> None:
    assert parse(word) == value


@pytest.mark.parametrize(
    ("parse", "word"),
    [
        (arguments.pool, "5"),
        (arguments.file_pool, "auto"),
        (arguments.key, ""),
        *((arguments.seconds, word) for word in ("-1", "nan", "inf", "soon")),
        *((arguments.loopback, word) for word in ("netlink", "loopback:", "loopback")),
    ],
)
def test_a_wrong_argument_is_refused(parse: Callable[[str], object], word: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse(word)


@pytest.mark.parametrize(
    ("words", "one", "several"),
    [
        ([], None, []),
        (["--json"], None, []),
        (["1"], 1, [1]),
        (["--json", "guest"], 1, [1]),
        (["--pool", "guest"], 1, [1]),
        (["--pool", "guest", "--json"], 1, [1]),
        (["--json", "--pool=guest"], 1, [1]),
        (["external", "guest"], None, [0, 1]),
        (["--pool", "host", "--pool", "guest"], 1, [3, 1]),
    ],
)
def test_a_pool_is_an_argument_or_an_option(
    words: list[str], one: int | None, several: list[int]
) -> None:
    for repeated, expected in ((False, one), (True, several)):
        parser = Parser()
        arguments.add_json(parser)
        arguments.add_pool(parser, arguments.file_pool, repeated=repeated)
        if words != ["external", "guest"] or repeated:
            assert parser.parse_args(words).pool == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["guest", "--pool", "host"], "argument --pool: not allowed with argument POOL"),
        (["--pool", "host", "guest"], "argument POOL: not allowed with argument --pool"),
        ([], "one of the arguments POOL --pool is required"),
        (["--pool", "lost"], "no pool 'lost'; there are: 0 external"),
    ],
)
def test_a_pool_that_is_named_twice_or_not_at_all_is_wrong_usage(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = Parser()
    arguments.add_pool(parser, arguments.file_pool, required=True)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(words)
    assert said in capsys.readouterr().err


def test_the_named_directory_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert arguments.directory(options("pools")) == f"{tmp_path}/pools"


def test_the_directory_is_by_default_the_running_daemons_for_tool_and_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C7."""
    daemon = DaemonStatus(pid=1, serving=True)
    daemon.pool_dir = "/srv/pools"
    monkeypatch.setattr(status, "find", lambda _: daemon)
    assert arguments.directory(options(None)) == "/srv/pools"
    assert Pool("guest").path == pool_path("/srv/pools", 1)
    assert arguments.directory(options(str(tmp_path))) == str(tmp_path)
    assert Pool("guest", directory=str(tmp_path)).path == pool_path(str(tmp_path), 1)


@pytest.mark.parametrize("error", [None, PermissionError(), StatusError("no page")])
def test_without_a_daemon_the_directory_is_one_that_exists_for_tool_and_library(
    error: Exception | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C7."""

    def find(_: str) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(status, "find", find)
    monkeypatch.setattr(status, "POOL_DIRECTORY", f"{tmp_path}/none")
    monkeypatch.setattr(status, "OTHER_DIRECTORY", f"{tmp_path}/other")
    assert arguments.directory(options(None)) == f"{tmp_path}/none"
    assert Pool(1).path == pool_path(f"{tmp_path}/none", 1)
    with pytest.raises(CommandError, match="there is no pool directory"):
        arguments.existing_directory(options(None))
    os.mkdir(f"{tmp_path}/other")
    assert arguments.existing_directory(options(None)) == f"{tmp_path}/other"
    assert Pool(1).path == pool_path(f"{tmp_path}/other", 1)


def test_input_is_a_file_or_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"\xff")
    assert arguments.read_input(f"{tmp_path}/file") == b"\xff"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\r\n")))
    assert arguments.read_input("-") == b"\r\n"
    with pytest.raises(CommandError, match="none: No such file"):
        arguments.read_input("none")
