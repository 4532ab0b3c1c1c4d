# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Namespaces for a command of a test, in which it is root.

An ordinary user has to have a user namespace too.  Root needs none, and under qemu-user could
not have one: each emulated program has a second thread, with which the kernel refuses it.
"""

from __future__ import annotations

import functools
import os
import subprocess

import pytest


def mount_namespace(*more: str) -> list[str]:
    """Return the words that run a command as root of a mount namespace of its own.

    ``more`` are other namespaces, by unshare's options.  Where the machine does not allow
    it, the test is skipped.
    """
    words = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount", *more]
    if problem := _problem(*words):
        pytest.skip(problem)
    return words


@functools.cache
def _problem(*words: str) -> str:
    done = subprocess.run([*words, "true"], check=False, stderr=subprocess.PIPE, text=True)
    return done.stderr.strip() if done.returncode else ""
