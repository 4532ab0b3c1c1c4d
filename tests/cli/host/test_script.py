# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Scripts of a simulated host."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.cli.host.script import Step, read_script, take
from hv_kvp_daemon.service.options import UsageError
from hv_kvp_daemon.simhost.simulated_host import HostIpInfo, Status

if TYPE_CHECKING:
    from pathlib import Path

    from hv_kvp_daemon.simhost.simulated_host import SimulatedHost


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
        ("set-ip {g} --family 256", "is no family and no byte"),
        ("set-ip {g} --family ipv5", "is no family and no byte"),
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


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        ("--dhcp", HostIpInfo("{g}", 0, 1)),
        ("--dhcp --family ipv4", HostIpInfo("{g}", 1, 1)),
        (
            "--address 10.0.0.5 --subnet 255.0.0.0",
            HostIpInfo("{g}", 1, 0, "10.0.0.5", "255.0.0.0"),
        ),
        (
            "--dhcp --address 2001:db8::5 --subnet 64",
            HostIpInfo("{g}", 2, 1, "2001:db8::5", "64"),
        ),
        (
            "--address '10.0.0.5;2001:db8::5' --subnet '255.0.0.0;64' --dns ::53 --gateway a",
            HostIpInfo(
                *("{g}", 3, 0, "10.0.0.5;2001:db8::5", "255.0.0.0;64", "a"),
                "::53",
            ),
        ),
        ("--address 'a\u00e9' --family 7", HostIpInfo("{g}", 7, 0, "a\u00e9")),
    ],
)
def test_set_ip_sends_every_form(tmp_path: Path, words: str, sent: HostIpInfo) -> None:
    class Recorder:
        def set_ip_info(self, info: HostIpInfo) -> Status:
            assert info == sent
            return Status(0)

    (step,) = steps(tmp_path, f"set-ip {{g}} {words}".encode())
    exchange = take(cast("SimulatedHost", Recorder()), step.options)
    assert (exchange.status, exchange.subject) == (0, "{g}")
