# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Settings for all tests: no deadline that a busy machine breaks; default signals and umask."""

from __future__ import annotations

import gc
import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# A generated example may take any time.  The blob repeats a failure on another machine.
# `make soak` has `--hypothesis-profile=soak`.
for profile, max_examples in (("hv-kvp", 50), ("soak", 2000)):
    settings.register_profile(
        profile,
        max_examples=max_examples,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile("hv-kvp")

# nohup ignores SIGHUP, and a shell ignores SIGINT for what it runs in the background; a
# process inherits that when it is started.  A signal that is caught here has its default
# action again after exec, so that commands under test can be interrupted, while the tests
# themselves go on ignoring it.
for number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


# Root's umask.  With 002, which many distributions give to ordinary users, each pool that a
# test writes could be written by others.
os.umask(0o022)


@pytest.fixture
def no_garbage() -> None:
    """Have closed what earlier tests have left to the collector, which comes at any time."""
    gc.collect()


def pytest_collection_finish() -> None:
    """Keep the modules and the tests themselves out of each later garbage collection."""
    gc.freeze()
