# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A pool directory that is replaced under a daemon, with a sandbox like the unit's and without.

The sandbox is a mount namespace in which all but the pool directory is read-only.  The
directory is replaced outside of it, as an administrator does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.namespaces import mount_namespace

BIN = os.path.dirname(sys.executable)

_SANDBOX = "mount --bind hyperv hyperv; mount -o remount,bind,ro $PWD;"

# $1: a directory; $2: of the programs; $3: sandbox; $4: the daemon's option; $5: what happens.
_SCRIPT = """
set -eu
PATH=$2:$PATH
mkdir $1/tmpfs; mount -t tmpfs none $1/tmpfs; cd $1/tmpfs; mkdir hyperv elsewhere
unshare --mount bash -c "set -eu; $3 exec hv_kvp_daemon $4 --pool-dir \\$PWD/hyperv \
    --transport loopback:$1/host" 2>$1/log & daemon=$!
ask() { hv-kvp host set guest "$2" "$3" --transport "loopback:$1/host" >>$1/answers 2>&1 \
    && echo HV_S_OK >>$1/answers || :; }
until [ -S $1/host ]; do kill -0 $daemon; sleep 0.02; done
ask $1 first value
eval "$5"
python3 -c "from hv_kvp_daemon.cli.service.pool_facts import pool_dir_replaced
print(pool_dir_replaced($daemon, '$PWD/hyperv'))" >$1/doctor
ask $1 second value
cp hyperv/.kvp_pool_1 $1/pool 2>/dev/null || :
if [ -S $1/host ] && [ "$6" = stays ]; then ask $1 third value; kill $daemon; fi
wait $daemon && echo 0 || echo $?
"""


class Outcome(NamedTuple):
    status: int
    answers: list[str]
    log: str


def replaced(
    directory: Path, how: str, *, sandbox: bool = True, expected: str = "ends"
) -> Outcome:
    words = [str(directory), BIN, _SANDBOX if sandbox else "", "-n", how, expected]
    done = subprocess.run(
        [*mount_namespace(), "bash", "-c", _SCRIPT, "bash", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = (directory / "answers").read_text().splitlines()
    return Outcome(int(done.stdout), answers, (directory / "log").read_text())


REPLACED = "it was removed or replaced, and what is there now is read-only for this daemon"


@pytest.mark.parametrize(
    "how",
    [
        "rm -r hyperv; mkdir hyperv",
        "rm -r hyperv",
        "mv hyperv old; mkdir hyperv",
        "mv hyperv old; ln -s elsewhere hyperv",
        "mv hyperv old; cp -a old hyperv",
    ],
    ids=["made again", "removed", "renamed", "a link", "a copy"],
)
def test_a_replaced_directory_ends_a_daemon_that_cannot_write_the_new_one(
    tmp_path: Path, how: str
) -> None:
    """U4, D2: every SET failed with EROFS for ever, and nothing was said."""
    outcome = replaced(tmp_path, how)
    assert outcome.status == 1
    assert "HV_S_OK" in outcome.answers[0]
    # The request that showed it is answered; the daemon does not leave the host waiting.
    assert "HV_E_FAIL" in outcome.answers[1]
    last = outcome.log.splitlines()[-1]
    assert last.startswith("error: pool directory (")
    assert REPLACED in last
    # Doctor sees it before a request does.
    assert (tmp_path / "doctor").read_text() == "True\n"


def test_without_a_sandbox_the_new_directory_is_served(tmp_path: Path) -> None:
    outcome = replaced(tmp_path, "rm -r hyperv; mkdir hyperv", sandbox=False, expected="stays")
    assert outcome.status == 0
    assert all("HV_S_OK" in answer for answer in outcome.answers)
    assert (tmp_path / "pool").read_bytes().startswith(b"second\0")
    assert REPLACED not in outcome.log
    assert (tmp_path / "doctor").read_text() == "False\n"


@pytest.mark.parametrize(
    "how",
    [
        "rm hyperv/.kvp_pool_1; mkdir hyperv/.kvp_pool_1",
        "mkdir hyperv/x; rm hyperv/.kvp_pool_1; ln -s x hyperv/.kvp_pool_1",
    ],
    ids=["a directory", "a link"],
)
def test_another_trouble_in_the_same_directory_ends_nothing(tmp_path: Path, how: str) -> None:
    outcome = replaced(tmp_path, how, expected="stays")
    assert outcome.status == 0
    assert "HV_E_FAIL" in outcome.answers[1]
    assert REPLACED not in outcome.log
    assert (tmp_path / "doctor").read_text() == "False\n"
