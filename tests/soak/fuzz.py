#!/usr/bin/env python3

# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""atheris on the decoders of `tests.support.decoders`, beginning with the stored corpus.

``python -m tests.soak.fuzz SECONDS [TARGET...]`` fuzzes each target for so long, and stores
the smallest corpus that takes the same branches.  libFuzzer runs this file for itself, with the
target in the environment: once for each target, and again where it merges.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile

from tests.soak import tools

#: Seconds for one input.
LIMIT = 10
#: Bytes of an input, at most: a datagram of the connector, and three records.
MOST = 8000
_TARGET = "HV_KVP_FUZZ_TARGET"


def run(target: str, *arguments: str, directory: str = ".") -> str:
    """Run libFuzzer on a target; return its last line of progress.

    :raises AssertionError: an input failed; it is written into the directory.
    """
    environment = {
        **os.environ,
        _TARGET: target,
        "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join((tools.ROOT, tools.atheris())),
    }
    limits = f"-timeout={LIMIT}", f"-max_len={MOST}", f"-artifact_prefix={directory}/"
    done = subprocess.run(
        [__file__, *limits, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return "".join(re.findall(r"^#(\d+\tDONE .*?) exec/s", done.stdout, re.MULTILINE))


def unpack(directory: str, target: str) -> None:
    """Put the stored inputs of a target into a new directory, a file each."""
    from tests.support.decoders import read_corpus

    os.mkdir(directory)
    for name, data in read_corpus():
        if name == target:
            with open(os.path.join(directory, hashlib.sha1(data).hexdigest()), "wb") as file:
                file.write(data)


def renew(seconds: int, targets: list[str]) -> None:
    """Fuzz each target, and store the smallest corpus."""
    from tests.support.decoders import TARGETS, read_corpus, write_corpus

    for target in targets or TARGETS:
        with tempfile.TemporaryDirectory() as directory:
            found, least = f"{directory}/found", f"{directory}/least"
            unpack(found, target)
            os.mkdir(least)
            print(target, run(target, found, f"-max_total_time={seconds}"), flush=True)
            run(target, least, found, "-merge=1", "-use_counters=0")
            others = [each for each in read_corpus() if each[0] != target]
            write_corpus([*others, *((target, _read(entry)) for entry in os.scandir(least))])


def _read(path: os.DirEntry[str]) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def fuzz(target: str) -> None:
    """Fuzz a target in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["hv_kvp_daemon"]):
        from tests.support.decoders import TARGETS
    atheris.Setup(sys.argv, TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    if _TARGET in os.environ:
        fuzz(os.environ[_TARGET])
    else:
        renew(int(sys.argv[1]), sys.argv[2:])
