# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.guest.pattern import matches


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "", True),
        ("eth0", "eth0", True),
        ("eth0", "eth01", False),
        ("*", "", True),
        ("veth*", "veth1a2b", True),
        ("veth*", "eth0", False),
        ("br-*-?", "br-12-3", True),
        ("[!.]*", "eth0", True),
        ("[!.]*", ".eth0.swp", False),
        ("[!.]*", "", False),
        ("eth[0-2]", "eth1", True),
        ("eth[0-2]", "eth3", False),
        ("[]x]", "]", True),
        ("[!]x]", "]", False),
        ("[a-]", "-", True),
        ("a[", "a[", True),
        ("[", "[", True),
        ("*\udcff", "a\udcff", True),
    ],
)
def test_a_whole_name_fits_or_not(pattern: str, text: str, *, expected: bool) -> None:
    assert matches(pattern, text) is expected


@given(
    # Python 3.10's fnmatch takes [b-a] otherwise than glob(7).
    st.lists(st.sampled_from(["*", "?", "a", "b", "-", ".", "[ab]", "[!a]", "[a-b]", "]"])),
    st.text("ab-.]", max_size=8),
)
def test_the_standard_library_agrees(parts: list[str], text: str) -> None:
    pattern = "".join(parts[:8])
    assert matches(pattern, text) is fnmatch.fnmatchcase(text, pattern)


def test_many_stars_take_no_longer() -> None:
    """S4: each star doubled the time."""
    assert not matches("*a" * 40, "a" * 200 + "b")
