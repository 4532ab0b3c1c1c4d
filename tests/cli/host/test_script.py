"""Scripts of a simulated host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.cli.host.script import Step, read_script
from hv_kvp_daemon.service.options import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def steps(tmp_path: Path, text: bytes) -> list[Step]:
    (tmp_path / "script").write_bytes(text)
    return read_script(f"{tmp_path}/script")


def test_a_step_has_its_line_its_words_and_what_is_expected(tmp_path: Path) -> None:
    found = steps(
        tmp_path,
        b'# comment\n\nset guest "a key" "a value" u32 # more\n'
        b'get 1 k => "a value"\nintrinsic\n',
    )
    assert [(step.line, step.expected) for step in found] == [
        (3, None),
        (4, "a value"),
        (5, None),
    ]
    first = found[0].options
    assert (first.action, first.pool, first.key) == ("set", 1, "a key")
    assert (first.value, first.type) == ("a value", "u32")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lost", "invalid choice"),
        ("get guest", "arguments are required"),
        ("get guest k => a b", "exactly one word"),
        ("enumerate guest -1", "unrecognized|is not an index"),
        ("enumerate guest 4294967296", "is not an index"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(UsageError, match=rf"script:2: .*({said})"):
        steps(tmp_path, f"intrinsic\n{line}\n".encode())


def test_a_script_must_be_text_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        steps(tmp_path, b"\xff")
    with pytest.raises(CommandError, match="No such file"):
        read_script(f"{tmp_path}/none")
