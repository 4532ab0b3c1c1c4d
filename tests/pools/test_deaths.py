# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Random requests of two processes, deaths, restarts and neighbours, against a model."""

from __future__ import annotations

import os
import tempfile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.wire.record import RECORD_SIZE, encode
from tests.pools.crash import Calls, DeadError, content
from tests.pools.crash_cases import (
    Records,
    after_delete,
    after_set,
    delete_as_c_does,
    key_of,
    put,
    records,
    set_first,
    whole,
)

KEYS = st.sampled_from([b"key 0", b"key 1", b"key 4", b"thrice", b"new", b"newer"])
VALUES = st.sampled_from([b"", b"1", b"2" * 511, b"3" * 900, b"4" * 2047])
OPERATIONS = st.tuples(st.sampled_from(["store", "append", "delete"]), KEYS, VALUES)

Operation = tuple[str, bytes, bytes]


def do(pool: PoolFile, operation: Operation) -> None:
    name, key, value = operation
    if name == "store":
        pool.store(key, value)
    elif name == "append":
        pool.append(key, value)
    else:
        pool.delete(key)


def done(state: Records, operation: Operation) -> Records:
    name, key, value = operation
    if name == "store":
        return after_set(state, key, value)
    if name == "append":
        return [*state, encode(key, value)]
    return after_delete(state, key)


class Deaths(RuleBasedStateMachine):
    """``allowed`` are the states that may be found next: two, where a writer has died."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, ".kvp_pool_1")
        self.pool = self.open()
        self.allowed: list[Records] = [[]]
        self.torn = False
        # The key whose other records a dead writer was removing.
        self.replaced: bytes | None = None
        self.appended = 0

    def open(self) -> PoolFile:
        return PoolFile(1, self.path, report=lambda _: None, sync=False)

    def teardown(self) -> None:
        self.pool.close()
        self.directory.cleanup()

    @initialize(count=st.sampled_from([0, 1, 7, 30]))
    def begin(self, count: int) -> None:
        put(self.path, b"".join(records(count)))
        self.allowed = [records(count)]

    def look(self) -> Records:
        """Ask anything, after which the file must be in one of the states."""
        self.pool.find(b"key 0")
        raw = content(self.path)
        found = whole(raw)
        assert len(raw) == len(found) * RECORD_SIZE
        assert found in self.allowed, [key_of(record) for record in found]
        self.allowed, self.torn, self.replaced = [found], False, None
        return found

    @rule(operation=OPERATIONS)
    def request(self, operation: Operation) -> None:
        self.allowed = [done(self.look(), operation)]
        do(self.pool, operation)

    @rule(
        operation=OPERATIONS,
        nth=st.integers(1, 9),
        torn=st.booleans(),
        other=st.booleans(),
    )
    def writer_dies(self, operation: Operation, nth: int, torn: bool, other: bool) -> None:
        """The daemon, which is started again; or another, beside which it runs on."""
        before = self.look()
        after = done(before, operation)
        pool = self.open() if other else self.pool
        calls = Calls(nth, torn=torn)
        try:
            with calls:
                do(pool, operation)
        except DeadError:
            self.allowed, self.torn = [before, after], calls.was_torn
            keys = [key_of(record) for record in before]
            if operation[0] == "store" and keys.count(operation[1]) > 1:
                self.replaced = operation[1]
        else:
            self.allowed = [after]
        pool.close()
        if not other:
            self.pool = self.open()

    @rule(key=KEYS, value=VALUES, count=st.integers(1, 4))
    def neighbour_appends(self, key: bytes, value: bytes, count: int) -> None:
        # No two alike: from the copy of a record beside it, `recovery` cannot tell
        # one that is twice because a kill came between.
        new = []
        for _ in range(count):
            self.appended += 1
            new.append(encode(key, value[:2000] + b" %d" % self.appended))
        with open(self.path, "ab") as file:
            file.write(b"".join(new))
        self.allowed = [[*state, *new] for state in self.allowed]

    @rule()
    def neighbour_truncates(self) -> None:
        put(self.path, b"")
        self.allowed = [[]]

    def mend(self, key: bytes) -> None:
        """Have a torn file recovered before a neighbour looks for a key in it.

        A writer that was killed within a write can leave a record twice, so a neighbour
        would find another one than the model.  And one that was killed while it removed the
        other records of a key leaves some of them, if a neighbour changes the first: a record
        that has not the new value does not show whether those after it were appended since.
        This is no precondition of the rules: where a writer dies depends on the clock, and
        Hypothesis has to see the same rules each time.
        """
        if self.torn or key == self.replaced:
            self.look()

    @rule(key=KEYS)
    def neighbour_deletes(self, key: bytes) -> None:
        self.mend(key)
        delete_as_c_does(key)(self.path)
        for number, state in enumerate(self.allowed):
            keys = [key_of(record) for record in state]
            if key in keys:
                at = keys.index(key)
                self.allowed[number] = state[:at] + state[at + 1 :]

    @rule(key=KEYS, value=VALUES)
    def neighbour_sets(self, key: bytes, value: bytes) -> None:
        self.mend(key)
        put(self.path, b"".join(set_first(whole(content(self.path)), key, value)))
        self.allowed = [set_first(state, key, value) for state in self.allowed]

    @rule()
    def restart(self) -> None:
        self.pool.close()
        self.pool = self.open()

    @invariant()
    def what_was_alone_allowed_is_there(self) -> None:
        if len(self.allowed) == 1:
            self.look()


TestDeaths = Deaths.TestCase
TestDeaths.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
