# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A process that is killed at a given one of the calls that change something."""

from __future__ import annotations

import os
from collections.abc import Callable

Call = Callable[..., object]


def killed_at(count: int, body: Callable[[Callable[[Call], Call]], object]) -> bool:
    """Run a function in a child that ends at the call after ``count`` others; True: it did.

    The function gets one that wraps each call that counts.  What is between these changes
    nothing that another process sees.
    """
    child = os.fork()
    if child == 0:
        left = count

        def counted(call: Call) -> Call:
            def run(*arguments: object, **named: object) -> object:
                nonlocal left
                if left == 0:
                    os._exit(1)
                left -= 1
                return call(*arguments, **named)

            return run

        try:
            body(counted)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
