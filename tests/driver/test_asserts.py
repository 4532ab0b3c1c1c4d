# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A failing assert of a scenario shows its values, and a deadline follows the machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.driver import asserts, deadline, guest, machine

CASES = {
    "assert number + 1 == 2": "number + 1 == 2\n    number + 1 = 4",
    "assert 1 < number < 2": "1 < number < 2\n    number = 3",
    "assert number in names, 'why'": "why\nnumber in names\n    number = 3\n    names = ['a']",
    "assert not names": "not names\n    names = ['a']",
    "assert names.count('b')": "names.count('b')\n    names.count('b') = 0",
    "assert all(name == 'b' for name in names)": "all((name == 'b' for name in names))\n"
    "    all((name == 'b' for name in names)) = False",
}


@pytest.mark.parametrize(("statement", "text"), CASES.items())
def test_a_failing_assert_shows_its_values(tmp_path: Path, statement: str, text: str) -> None:
    path = tmp_path / "example.py"
    path.write_text(f"def check():\n    number, names = 3, ['a']\n    {statement}\n")
    loader = asserts.Loader("example", str(path))
    spec = importlib.util.spec_from_loader("example", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    with pytest.raises(AssertionError) as error:
        module.check()
    assert str(error.value) == text


def test_every_scenario_can_be_rewritten() -> None:
    for name in {scenario.name for scenario in machine.scenarios()}:
        path = f"{machine.SCENARIOS}/{name}.py"
        assert asserts.Loader(name, path).get_code(name).co_filename == path


def test_a_deadline_is_put_off_on_a_slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOT_SECONDS", "50")
    assert deadline.Deadline(1).left() > 9
    assert deadline.Deadline(1, most=3).left() <= 3
    monkeypatch.setattr(deadline, "current_slowness", lambda: 200.0)
    started = deadline.Deadline(0.01)
    while started.elapsed < 0.2:
        assert not started.passed(), started
    assert deadline.Deadline(0).passed()


def test_a_deadline_passes_on_a_machine_that_is_not_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BOOT_SECONDS", "1")
    monkeypatch.setattr(deadline, "current_slowness", lambda: 1.0)
    started = deadline.Deadline(0.01)
    while started.elapsed < 0.02:
        pass
    assert started.passed()


def test_a_wait_ends_well_if_the_vm_stood_still_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setenv("BOOT_SECONDS", "1")
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr(deadline, "current_slowness", lambda: 1.0)
    answers = iter(("", "", "it has happened"))

    def condition() -> str:
        nonlocal now
        now += 60.0
        return next(answers)

    assert guest.wait_for("it", condition, 100.0) == "it has happened"
    with pytest.raises(AssertionError, match="not in time: it"):
        guest.wait_for("it", lambda: "", 0.0)


def test_the_bound_of_a_vm_counts_from_its_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    bound = machine.Bound(100)
    now += machine.BOOT_SECONDS - 1
    assert not bound.passed()
    bound.see("slowness 2.5\n")
    now += 249
    bound.see("slowness of something else\n")
    assert not bound.passed()
    now += 2
    assert bound.passed()
    bound.see("slowness 3.0[UNSUPP] Starting of a unit unsupported.\n")
    assert not bound.passed()
    assert str(bound) == "100 s on a machine that is 3.0 times slower"
