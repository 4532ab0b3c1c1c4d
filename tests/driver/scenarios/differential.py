# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The same random requests to Debian's C daemon and to this one: same replies, same files.

A plan is generated from a seed and executed three times on empty pools: by the C daemon,
and by this one over netlink and over the character device.  Between requests another
program appends complete and partial records to the pools, under flock or fcntl.  After
each step the files are compared, field by field up to the NUL.

Each intended difference has a name and a reason in `DIFFERENCES`.  The behavior of the C
daemon is asserted there, too, and its effect undone, so that both have the same state
again; a difference that no plan meets fails the scenario.

    tests/driver/run-scenario differential -e SEED=17 -e SEEDS=1
"""

from __future__ import annotations

import fcntl
import os
import random
import reprlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple, TypeAlias

from tests.driver import guest
from tests.driver.lab.hvhost import (
    AUTO,
    AUTO_EXTERNAL,
    AUTO_INTERNAL,
    E_FAIL,
    EXTERNAL,
    GUEST,
    NOT_SUPPORTED,
    REG_SZ,
    REG_U32,
    REG_U64,
    S_CONT,
    S_OK,
    SET,
    Host,
    value_body,
    wide,
)

SECONDS = 240

RANDOM_STEPS = 240
FIRST_SEED = int(os.environ.get("SEED", "1"))
SEEDS = range(FIRST_SEED, FIRST_SEED + int(os.environ.get("SEEDS", "3")))
# On a busy machine a seed takes 12 s.  For many of them: run-scenario --seconds.
CHECK_SECONDS = 60 + 30 * len(SEEDS)

AGAIN = "tests/driver/run-scenario differential"

#: What differs on purpose: name, and the reason (ids of docs/defects.md).
DIFFERENCES = {
    "empty key": "P7: no record has an empty name, so none is made or found; C makes one",
    "unknown value type": "the driver cannot pass such a value on; C acknowledges the SET "
    "and keeps the old value or stores heap bytes",
    "auto pool change": "the auto pool is no file: what C acknowledges, no host reads back",
    "auto pool GET": "C reads a pool file that no program writes",
    "GET value": "C puts no value where the driver reads it; the status is compared",
    "duplicates deleted": "P10: C removes the first only, so the second value becomes visible",
    "duplicates set": "P26: C sets the first only, and who takes the last reads the old value",
    "invalid UTF-8": "P24: C passes it on, and the driver ends the host's enumeration there",
    "unknown operation": "T12: C acknowledges what it did not do",
    "pool above 4": "T13: C reads beyond its table and may end, so it is not asked",
    "index above 2^31": "T14: C reads before its records and ends, so it is not asked",
}

POOLS = (EXTERNAL, GUEST, AUTO_EXTERNAL, AUTO_INTERNAL)
TYPES = (REG_SZ, REG_U32, REG_U64)
INT_MAX = (1 << 31) - 1
KEY_SIZE, RECORD_SIZE = 512, 2560

# Few, so that requests use keys that others have set.
KEYS = (
    "a",
    "A",
    "ab",
    "a b",
    "ключ",
    "\U0001f511",
    "k" * 254,
    "\N{CJK UNIFIED IDEOGRAPH-6771}",
)
VALUES = (
    "",
    "x",
    "välue;with=signs",
    "v" * 1022,
    "\U0001f512" * 511,
    # Longer than the 2047 bytes that the driver passes on.
    "\N{CJK UNIFIED IDEOGRAPH-4EAC}" * 1022,
)
# Records of other programs: also texts beyond the host's limits (254 and 1022 units, where
# the last one may be half of a surrogate pair), and other bytes after the NUL.  None fills
# its field: in a reply of the C daemon that is a kernel BUG.
FOREIGN_KEYS = (*(key.encode() for key in KEYS), b"q" * 500, b"a\0rubbish")
FOREIGN_VALUES = (
    b"",
    b"y",
    b"z" * 2047,
    b"x" + b"\xf0\x9f\x94\x92" * 511,
    b"short\0" + b"r" * 2000,
    b"caf\xe9",
)
TORN = b"odd ODD"

Pairs: TypeAlias = list[tuple[bytes, bytes]]
Reply: TypeAlias = tuple[int, str, str]


class Step(NamedTuple):
    """One request of the host, or one append of another program (``lock`` says how)."""

    act: str
    pool: int
    key: str = ""
    value: str | int = ""
    number: int = 0
    lock: str = ""
    record: bytes = b""


class Outcome(NamedTuple):
    """The host's result, and the pools after it: their pairs and the partial record."""

    replies: list[Reply]
    files: list[tuple[Pairs, int]]


def plan(seed: int) -> list[Step]:
    """The steps for a seed: random ones, and between them all of `rare`."""
    rng = random.Random(seed)
    makers: list[tuple[int, Callable[[random.Random], Step]]] = [
        (30, set_text),
        (8, set_number),
        (18, lambda rng: Step("delete", rng.choice(POOLS), rng.choice(KEYS))),
        (12, lambda rng: Step("get", rng.choice(POOLS), rng.choice(KEYS))),
        (25, lambda rng: Step("enumerate", rng.choice(POOLS), number=rng.randrange(9))),
        (4, lambda rng: Step("walk", rng.choice(POOLS))),
        (14, append),
        (2, lambda rng: Step("tear", rng.choice(POOLS), lock="flock", record=TORN)),
    ]
    weights = [weight for weight, _ in makers]
    drawn = rng.choices([maker for _, maker in makers], weights, k=RANDOM_STEPS)
    groups = [[maker(rng)] for maker in drawn] + rare(rng)
    rng.shuffle(groups)
    return [step for group in groups for step in group]


def set_text(rng: random.Random) -> Step:
    value = rng.choice((*VALUES, "w" * rng.randrange(1, 1023)))
    return Step("set", rng.choice(POOLS), rng.choice(KEYS), value, REG_SZ)


def set_number(rng: random.Random) -> Step:
    kind, bits = rng.choice(((REG_U32, 32), (REG_U64, 64)))
    value = rng.choice((0, 1, 2**bits - 1, rng.randrange(2**bits)))
    return Step("set", rng.choice(POOLS), rng.choice(KEYS), value, kind)


def append(rng: random.Random, key: bytes = b"", value: bytes = b"") -> Step:
    key, value = key or rng.choice(FOREIGN_KEYS), value or rng.choice(FOREIGN_VALUES)
    record = key.ljust(KEY_SIZE, b"\0") + value.ljust(RECORD_SIZE - KEY_SIZE, b"\0")
    lock = rng.choice(("flock", "fcntl"))
    return Step("append", rng.choice(POOLS), lock=lock, record=record)


def rare(rng: random.Random) -> list[list[Step]]:
    """Steps at which the two daemons differ, and steps close to these."""
    pool, key = rng.choice(POOLS), rng.choice(KEYS)
    doubled = append(rng, b"twice")
    return [
        *([Step(act, pool, "", "x", REG_SZ)] for act in ("set", "delete", "get")),
        *([Step("set", pool, key, "x", kind)] for kind in (0, 3, 7)),
        *([Step(act, AUTO, "OSName", "x", REG_SZ)] for act in ("set", "delete", "get")),
        [Step("get", AUTO, "a")],
        *([Step("enumerate", AUTO, number=index)] for index in (4, 9, 10, INT_MAX)),
        *([Step("unknown", pool, number=number)] for number in (6, 99, 100, 255)),
        *([Step(act, 5, "a", "x", REG_SZ)] for act in ("set", "delete", "get", "enumerate")),
        *([Step("enumerate", number)] for number in (77, 255)),
        *([Step("enumerate", pool, number=n)] for n in (INT_MAX, INT_MAX + 1, 2 * INT_MAX + 1)),
        [doubled, doubled, Step("delete", doubled.pool, "twice")],
        [append(rng, value=b"caf\xe9"), *(Step("walk", number) for number in POOLS)],
    ]


class Run:
    """A daemon that executes the steps of a plan."""

    def __init__(self, directory: str, host: Host) -> None:
        self.directory = directory
        self.host = host

    def outcomes(self, steps: list[Step]) -> Iterator[Outcome]:
        for step in steps:
            if step.act in ("append", "tear"):
                self.append(step)
                replies: list[Reply] = []
            else:
                replies = self.ask(step)
            yield Outcome(replies, [self.read(number) for number in POOLS])

    def ask(self, step: Step) -> list[Reply]:
        """Make one request; also what a host must see here: see `Theirs.ask`."""
        if step.act == "walk":
            return self.walk(step.pool)
        reply = self.request(step)
        if step.act == "get" and reply[0] == S_OK:
            # A GET gives the value that an enumeration shows with that key.
            shown = [value for _, key, value in self.walk(step.pool) if key == step.key]
            assert reply[2] == shown[0], (step, reply, shown)
        return [reply]

    def request(self, step: Step) -> Reply:
        if step.act == "enumerate":
            return self.host.enumerate(step.pool, step.number)
        if step.act == "unknown":
            return self.host.kvp(step.number, step.pool)[0], "", ""
        if step.act == "get":
            status, value = self.host.get(step.pool, step.key)
            return status, "", value if status == S_OK else ""
        if step.act == "delete":
            return self.host.delete(step.pool, step.key), "", ""
        if step.number in TYPES:
            return self.host.set(step.pool, step.key, step.value, step.number), "", ""
        body = value_body(wide(step.key), wide(str(step.value)), kind=step.number)
        return self.host.kvp(SET, step.pool, body)[0], "", ""

    def walk(self, pool: int) -> list[Reply]:
        """Enumerate until there is no more, over what cannot be shown as well."""
        replies: list[Reply] = []
        while (reply := self.host.enumerate(pool, len(replies)))[0] != S_CONT:
            replies.append(reply)
        return replies

    def path(self, number: int) -> str:
        return os.path.join(self.directory, f".kvp_pool_{number}")

    def raw(self, number: int) -> bytes:
        with open(self.path(number), "rb") as file:
            return file.read()

    def read(self, number: int) -> tuple[Pairs, int]:
        raw = self.raw(number)
        odd = len(raw) % RECORD_SIZE
        pairs = [
            (_text(raw[at : at + KEY_SIZE]), _text(raw[at + KEY_SIZE : at + RECORD_SIZE]))
            for at in range(0, len(raw) - odd, RECORD_SIZE)
        ]
        return pairs, odd

    def append(self, step: Step) -> None:
        """Append as another program does, with one of the two kinds of lock."""
        fd = os.open(self.path(step.pool), os.O_RDWR | os.O_APPEND)
        (fcntl.flock if step.lock == "flock" else fcntl.lockf)(fd, fcntl.LOCK_EX)
        # A second torn part would only make a longer one.
        if step.act == "append" or os.fstat(fd).st_size % RECORD_SIZE == 0:
            assert os.write(fd, step.record) == len(step.record)
        os.close(fd)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


class Theirs(Run):
    """The C daemon.  Its answers are converted into those that this daemon must give."""

    met: ClassVar[Counter[str]] = Counter()

    def ask(self, step: Step) -> list[Reply]:
        """Make one request; assert a known difference, and undo its effect."""
        if step.pool > AUTO_INTERNAL and step.act != "unknown":
            return self.differs("pool above 4", S_CONT if step.act == "enumerate" else E_FAIL)
        if step.act == "enumerate" and step.number > INT_MAX:
            return self.differs("index above 2^31", S_CONT)
        if step.act == "unknown":
            assert self.request(step)[0] == S_OK
            return self.differs("unknown operation", NOT_SUPPORTED)
        if step.act == "walk":
            replies = enumerate(self.walk(step.pool))
            return [self.shown(step.pool, index, reply) for index, reply in replies]
        if step.act == "enumerate":
            return [self.shown(step.pool, step.number, self.request(step))]
        if step.pool == AUTO:
            return self.ask_auto(step)
        return self.ask_pool(step, [key for key, _ in self.read(step.pool)[0]])

    def differs(self, name: str, status: int) -> list[Reply]:
        self.met[name] += 1
        return [(status, "", "")]

    def shown(self, pool: int, index: int, reply: Reply) -> Reply:
        """What the host must get for a record that the C daemon may not have converted."""
        if pool == AUTO or reply[0] == S_CONT:
            return reply
        key, value = (text.decode("utf-8", "replace") for text in self.read(pool)[0][index])
        if "\N{REPLACEMENT CHARACTER}" not in key + value:
            return reply
        assert reply[0] == E_FAIL, reply
        self.met["invalid UTF-8"] += 1
        return S_OK, key[:254], value[:1022]

    def ask_auto(self, step: Step) -> list[Reply]:
        if step.act != "get":
            self.in_vain(step, S_OK if step.act == "set" else S_CONT)
            return self.differs("auto pool change", E_FAIL)
        assert self.request(step)[0] == S_CONT
        self.met["auto pool GET"] += 1
        values = {key: value for _, key, value in self.walk(AUTO)}
        value = values.get(step.key)
        return [(S_CONT, "", "") if value is None else (S_OK, "", value)]

    def ask_pool(self, step: Step, keys: list[bytes]) -> list[Reply]:
        key = step.key.encode()
        if not key:
            # The rest of another program's partial record may look like one without a key.
            known = step.act == "set" or key in keys
            self.in_vain(step, S_OK if known else S_CONT)
            return self.differs("empty key", E_FAIL)
        if step.act == "set" and step.number not in TYPES:
            self.in_vain(step, S_OK)
            return self.differs("unknown value type", E_FAIL)
        reply = self.request(step)
        if step.act == "get" and key in keys:
            assert reply == (S_OK, "", ""), reply
            self.met["GET value"] += 1
            return [(S_OK, "", self.value_at(step.pool, keys.index(key)))]
        if step.act == "delete":
            for _ in range(keys.count(key) - 1):
                self.met["duplicates deleted"] += 1
                assert self.request(step)[0] == S_OK
        if step.act == "set" and keys.count(key) > 1:
            self.met["duplicates set"] += 1
            self.leave_one(step.pool, key)
        return [reply]

    def in_vain(self, step: Step, status: int) -> None:
        """Make a request, assert its status, and put the file back as it was."""
        before = self.raw(step.pool)
        assert self.request(step)[0] == status, step
        if self.raw(step.pool) != before:
            self.put(step.pool, before)

    def leave_one(self, pool: int, key: bytes) -> None:
        """Remove the records with a key after the first one."""
        raw = self.raw(pool)
        records = [raw[at : at + RECORD_SIZE] for at in range(0, len(raw), RECORD_SIZE)]
        named = [at for at, record in enumerate(records) if _text(record[:KEY_SIZE]) == key]
        self.put(pool, b"".join(r for at, r in enumerate(records) if at not in named[1:]))

    def put(self, pool: int, raw: bytes) -> None:
        with open(self.path(pool), "r+b") as file:
            file.truncate()
            file.write(raw)

    def value_at(self, pool: int, index: int) -> str:
        return self.shown(pool, index, self.host.enumerate(pool, index))[2]


def carry_out(steps: list[Step], transport: str) -> list[Outcome]:
    """Start a daemon on empty pools and return the outcome of each step."""
    directory = guest.POOL_DIR if transport else guest.C_POOL_DIR
    shutil.rmtree(directory, ignore_errors=True)
    daemon = guest.registered("--transport", transport) if transport else guest.c_daemon()
    with Host(timeout=20, watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        kind = Run if transport else Theirs
        outcomes = list(kind(directory, host).outcomes(steps))
    end(daemon)
    return outcomes


def end(daemon: guest.Process) -> None:
    """Stop the daemon; it must not have ended before."""
    assert daemon.status is None
    daemon.stop()
    assert "Traceback" not in daemon.stderr, daemon.stderr


def check_random_requests_have_the_same_replies_and_leave_the_same_files() -> None:
    """T9: over the character device, which did not exist in 2012, as over netlink."""
    for seed in SEEDS:
        steps = plan(seed)
        theirs = carry_out(steps, "")
        for transport in ("netlink", "chardev"):
            ours = carry_out(steps, transport)
            assert len(ours) == len(theirs) == len(steps)
            for number, pair in enumerate(zip(ours, theirs, strict=True)):
                where = f"seed {seed}, step {number} over {transport}, {steps[number]!r:.200}"
                assert_equal(*pair, f"{where}\nagain: {AGAIN} -e SEED={seed} -e SEEDS=1")
        print(f"seed {seed}: {len(steps)} steps")
    for name, reason in DIFFERENCES.items():
        print(f"{Theirs.met[name]:6} {name}: {reason}")
    # Else less was compared than is said here.
    assert Theirs.met.keys() == DIFFERENCES.keys()


def assert_equal(ours: Outcome, theirs: Outcome, where: str) -> None:
    assert ours.replies == theirs.replies, (
        f"{where}\nours {ours.replies!r}\nC {theirs.replies!r}"
    )
    for number, mine, other in zip(POOLS, ours.files, theirs.files, strict=True):
        assert mine == other, f"{where}\npool {number}\nours {short(mine)}\nC {short(other)}"


def short(file: tuple[Pairs, int]) -> str:
    pairs, odd = file
    lines = [f"{reprlib.repr(key)} = {reprlib.repr(value)}" for key, value in pairs]
    return "\n".join([f"{len(pairs)} records and {odd} bytes", *lines])
