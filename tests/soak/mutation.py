# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Mutation testing: whether the tests of a package notice a small change of its code.

``make mutation ARGS="pools --sample 200 --seed 1"`` changes one place of a copy in
build/mutation at a time, runs the tests of the package that execute this place, the fastest
ones first, and prints each mutant that survives.  A survivor is answered by a test, by
simpler code, or by an entry in mutants.txt: a mutant that behaves the same, or is only
slower.  The exit status is 1 if a survivor has no entry.

Neither cosmic-ray 8.7 nor mutmut 3.8 is used.  cosmic-ray runs all tests for each mutant,
mutates annotations (``bytes | None``), negates only the first operand of ``if a or b``, and
does not remove calls, such as an fsync.  mutmut leaves out properties, other decorated
functions and tables of constants, and wraps each function in one of its own, which imports
mutmut in the daemons that tests start.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import glob
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
from typing import TYPE_CHECKING, NamedTuple

import coverage
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPLAINED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mutants.txt")

_SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    one: other
    for pair in (
        (ast.Lt, ast.LtE),
        (ast.Gt, ast.GtE),
        (ast.Eq, ast.NotEq),
        (ast.Is, ast.IsNot),
        (ast.In, ast.NotIn),
        (ast.Add, ast.Sub),
        (ast.Mult, ast.FloorDiv),
        (ast.BitAnd, ast.BitOr),
        (ast.LShift, ast.RShift),
        (ast.And, ast.Or),
    )
    for one, other in (pair, pair[::-1])
}
_NEGATED_BY_SWAP = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)


class Mutant(NamedTuple):
    """A change of one place: ``key`` names it in whatever line it is, ``lines`` execute it."""

    path: str
    key: str
    source: bytes
    lines: range


def mutants(path: str) -> Iterator[Mutant]:
    """Yield each mutant of a module."""
    with open(path, "rb") as file:
        source = file.read()
    rows = source.splitlines(keepends=True)
    starts = [sum(map(len, rows[:row])) for row in range(len(rows))]
    for node, new, scope, statement in _places(ast.parse(source), "", ast.Pass(lineno=1)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        text = new if isinstance(node, ast.stmt) else f"({new})"
        place = f"{path.removeprefix('src/hv_kvp_daemon/')}{scope}"
        line = rows[node.lineno - 1].decode().strip()
        yield Mutant(
            path,
            f"{place} | {line} | {ast.unparse(node)} -> {new}",
            source[:start] + text.encode() + source[end:],
            range(statement.lineno, node.end_lineno + 1),
        )


def all_mutants(package: str) -> Iterator[Mutant]:
    """Yield each mutant of a package."""
    for path in sorted(glob.glob(f"src/hv_kvp_daemon/{package}/*.py")):
        yield from mutants(path)


def _places(
    node: ast.AST, scope: str, statement: ast.stmt
) -> Iterator[tuple[ast.expr | ast.stmt, str, str, ast.stmt]]:
    """Yield what is replaced, by which text, in which function and statement."""
    if isinstance(node, ast.JoinedStr) or _is_for_types(node):
        return
    if isinstance(node, ast.stmt):
        statement = node
    for old, new in _changes(node):
        yield old, new, scope, statement
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        scope = f"{scope}{'.' if scope else ' '}{node.name}"
    for field, value in ast.iter_fields(node):
        if field not in {"annotation", "returns"}:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _places(child, scope, statement)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, (ast.If, ast.Assign)) and ast.unparse(node).startswith(
        ("TYPE_CHECKING", "if TYPE_CHECKING")
    )


def _changes(  # noqa: C901, PLR0912  (a table)
    node: ast.AST,
) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Yield what is replaced at a node, and the text in its place."""
    match node:
        case ast.Compare(ops=ops):
            for at, op in enumerate(ops):
                if swapped := _SWAPPED.get(type(op)):
                    yield node, _unparse(node, ops=[*ops[:at], swapped(), *ops[at + 1 :]])
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op):
            if swapped := _SWAPPED.get(type(op)):
                yield node, _unparse(node, op=swapped())
        case ast.UnaryOp(op=ast.Not()):
            yield node, ast.unparse(node.operand)
        case ast.Constant(value=bool(value)):
            yield node, str(not value)
        case ast.Constant(value=int(value)):
            yield node, str(value + 1)
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            match test:
                case ast.Compare(ops=[op]) if isinstance(op, _NEGATED_BY_SWAP):
                    pass
                case ast.UnaryOp(op=ast.Not()) | ast.Constant():
                    pass
                case _:
                    yield test, f"not ({ast.unparse(test)})"
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield value, "None"
        case ast.Expr(value=ast.Call()) | ast.Continue() | ast.Break():
            yield node, "pass"
        case ast.ExceptHandler(type=ast.expr() as caught):
            yield caught, "()"


def _unparse(node: ast.AST, **changed: object) -> str:
    return ast.unparse(type(node)(**{**dict(ast.iter_fields(node)), **changed}))


class Baseline:
    """Which tests execute each line, and how long each takes (a plugin of pytest)."""

    def __init__(self) -> None:
        self._coverage = coverage.Coverage(
            data_file=None, config_file=False, source=["src/hv_kvp_daemon"]
        )
        self._seconds: dict[str, float] = {}

    def write(self, path: str) -> None:
        data = self._coverage.get_data()
        executed = {
            os.path.relpath(name): data.contexts_by_lineno(name)
            for name in data.measured_files()
        }
        with open(path, "w") as file:
            json.dump({"executed": executed, "seconds": self._seconds}, file)

    def pytest_sessionstart(self) -> None:
        self._coverage.start()

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0) + report.duration


class Selection:
    """The tests to run, in this order, each with a limit: a mutant may loop (a plugin)."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds

    @property
    def limit(self) -> float:
        """A limit for all tests in seconds, for a mutant that hangs where pytest cannot."""
        return 60 + 10 * sum(self._seconds.values())

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self._seconds]
        items.sort(key=lambda item: self._seconds[item.nodeid])
        for item in items:
            item.add_marker(pytest.mark.timeout(10 + 10 * self._seconds[item.nodeid]))


def _run(paths: list[str], plugin: Baseline | Selection, limit: float | None) -> int:
    """Run tests of the copy in a child, and return its exit status as pytest defines it."""
    process = multiprocessing.get_context("fork").Process(target=_child, args=(paths, plugin))
    process.start()
    process.join(limit)
    # Also what a test has started and, as it failed, not ended.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _child(paths: list[str], plugin: Baseline | Selection) -> None:
    os.setsid()
    # A mutant that loops may also fill memory.
    resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    if isinstance(plugin, Selection):
        os.dup2(null, 1)
        os.dup2(null, 2)
    os.environ["PYTHONPATH"] = os.path.abspath("src")
    # The import of hypothesis' plugin alone takes longer than most mutants live.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.path[:0] = [os.path.abspath("src"), os.path.abspath(".")]
    for name in [name for name in sys.modules if name.startswith("tests.")]:
        del sys.modules[name]
    options = ["-qx", "-p", "no:cacheprovider", "-p", "pytest_timeout"]
    status = pytest.main([*options, *paths], plugins=[plugin])
    if isinstance(plugin, Baseline):
        plugin.write("baseline.json")
    os._exit(status)


def _enter_copy(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)
    for folder in ("src", "tests", "scripts"):
        shutil.copytree(
            folder, os.path.join(path, folder), ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy("pyproject.toml", path)
    os.chdir(path)


def _measure(package: str) -> tuple[dict[str, dict[str, list[str]]], dict[str, float]]:
    """Return which tests execute each line of each file, and the seconds of each test."""
    if _run([f"tests/{package}"], Baseline(), None):
        sys.exit(f"tests/{package} fails in {os.getcwd()}")
    with open("baseline.json") as file:
        found = json.load(file)
    return found["executed"], found["seconds"]


def _tests(mutant: Mutant, executed: dict[str, list[str]]) -> set[str]:
    """Return the tests of a mutant; those of the module for what runs when it is imported."""
    here = {test for line in mutant.lines for test in executed.get(str(line), ())} - {""}
    return here or {test for tests in executed.values() for test in tests} - {""}


def _survives(mutant: Mutant, number: int, seconds: dict[str, float]) -> bool:
    before = os.stat(mutant.path)
    with open(mutant.path, "rb") as file:
        source = file.read()
    try:
        with open(mutant.path, "wb") as file:
            file.write(mutant.source)
        # Python takes a compiled file by the whole second and the size of its source.
        os.utime(mutant.path, (before.st_atime, before.st_mtime + number))
        selection = Selection(seconds)
        paths = sorted({test.partition("::")[0] for test in seconds})
        status = _run(paths, selection, selection.limit)
    finally:
        with open(mutant.path, "wb") as file:
            file.write(source)
        os.utime(mutant.path, (before.st_atime, before.st_mtime))
    return status in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}


def explained() -> set[str]:
    """Return the keys in mutants.txt; the explanation of each follows in indented lines."""
    with open(EXPLAINED) as file:
        return {line.rstrip("\n") for line in file if not line.startswith((" ", "#", "\n"))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("package", choices=["wire", "pools"])
    parser.add_argument("--sample", type=int, help="how many mutants, at random; else all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--match", action="append", help="mutants whose line in the output contains this text"
    )
    arguments = parser.parse_args()
    chosen = [
        mutant
        for mutant in all_mutants(arguments.package)
        if not arguments.match or any(text in mutant.key for text in arguments.match)
    ]
    print(f"{len(chosen)} mutants", flush=True)
    if arguments.sample and arguments.sample < len(chosen):
        chosen = random.Random(arguments.seed).sample(chosen, arguments.sample)
    _enter_copy(f"build/mutation/{arguments.package}")
    executed, seconds = _measure(arguments.package)
    entries = explained()
    counts = {"killed": 0, "explained": 0, "survived": 0}
    for number, mutant in enumerate(chosen, 1):
        tests = _tests(mutant, executed.get(mutant.path, {}))
        if not _survives(mutant, number, {test: seconds[test] for test in tests}):
            result = "killed"
        else:
            result = "explained" if mutant.key in entries else "survived"
        counts[result] += 1
        print(f"{number}/{len(chosen)} {result}: {mutant.key}", flush=True)
    print(*(f"{count} {result}" for result, count in counts.items()), sep=", ")
    return 1 if counts["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
