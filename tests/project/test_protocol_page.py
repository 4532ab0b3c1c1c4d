# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The tables of docs/protocol.md have the numbers of the kernel's headers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hv_kvp_daemon.wire import uapi

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
#: name: (offset, bytes), or (number,), as a C compiler prints them.
LAYOUT = {
    name: tuple(map(int, numbers))
    for name, *numbers in (
        line.split("\t")
        for line in (ROOT / "tests/wire/layout.tsv").read_text(encoding="utf-8").splitlines()
    )
}


def table(heading: str) -> list[list[str]]:
    """The rows of the table with that first column, without its two first lines."""
    text = PAGE[PAGE.index(f"| {heading} |") :].split("\n\n")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]
    ]


@pytest.mark.parametrize("row", table("offset"), ids=lambda row: row[2])
def test_a_member_is_where_the_header_has_it(row: list[str]) -> None:
    offset, size, name, _ = row
    assert LAYOUT["hv_kvp_msg." + name.strip("`")] == (int(offset), int(size))


def test_the_frame_is_as_long_as_its_parts() -> None:
    sizes = [int(row[0]) for row in table("size")]
    assert sizes == [LAYOUT[name][1] for name in ("nlmsghdr", "cn_msg", "hv_kvp_msg")]
    assert f"A frame has {sum(sizes)} bytes" in PAGE
    assert f"length {sum(sizes)}" in PAGE
    assert f"len {sizes[2]}" in PAGE


def test_a_member_of_the_frame_is_where_the_headers_have_it() -> None:
    start = {"nlmsghdr": 0, "cn_msg": LAYOUT["nlmsghdr"][1]}
    start["hv_kvp_msg"] = start["cn_msg"] + LAYOUT["cn_msg"][1]
    for at, size, name in table("at"):
        struct, _, _ = name.strip("`").partition(".")
        layout = LAYOUT[name.strip("`")]
        offset = layout[0] if "." in name else 0
        assert (int(at), int(size)) == (start[struct] + offset, layout[1]), name


def test_a_constant_has_the_headers_number() -> None:
    for name, number, _ in table("constant"):
        assert getattr(uapi, name) == int(number)


@pytest.mark.parametrize("row", table("number"), ids=lambda row: row[1])
def test_an_operation_has_the_headers_number(row: list[str]) -> None:
    assert getattr(uapi, row[1]) == int(row[0])


@pytest.mark.parametrize("row", table("status"), ids=lambda row: row[1])
def test_a_status_has_the_headers_number(row: list[str]) -> None:
    assert getattr(uapi, row[1]) == int(row[0], 16)
    assert len(table("status")) == len(uapi.HV_STATUS_NAMES)


@pytest.mark.parametrize("row", table("pool"), ids=lambda row: row[1])
def test_a_pool_has_the_headers_number(row: list[str]) -> None:
    assert getattr(uapi, row[1]) == int(row[0])
    assert f"`.kvp_pool_{row[0]}`" in row[4]


def test_the_items_of_the_auto_pool_are_those_of_the_header() -> None:
    assert [row[1].encode() for row in table("index")] == [*uapi.KVP_AUTO_KEYS]
    assert [int(row[0]) for row in table("index")] == [*range(10)]


def test_sizes_and_limits_in_the_text_are_the_headers() -> None:
    record = uapi.HV_KVP_EXCHANGE_MAX_KEY_SIZE + uapi.HV_KVP_EXCHANGE_MAX_VALUE_SIZE
    assert f"records of {record} bytes" in PAGE
    assert f"{uapi.HV_UTIL_TIMEOUT} s (HV_UTIL_TIMEOUT" in PAGE
    assert re.search(rf"idx {uapi.CN_KVP_IDX} .* val {uapi.CN_KVP_VAL} ", PAGE)
