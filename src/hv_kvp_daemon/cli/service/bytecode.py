# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Whether the installed modules are compiled to bytecode.

pip compiles them.  ``--no-compile``, PYTHONDONTWRITEBYTECODE and image builders omit that,
and a service for which /usr is read-only cannot do it later.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from typing import Final

import hv_kvp_daemon

_PACKAGE: Final = os.path.dirname(hv_kvp_daemon.__file__)

#: What missing bytecode costs (measured: 118 ms instead of 24 ms, 18.4 MiB instead of 12.2).
WHY: Final = "the daemon starts five times slower and takes 6 MiB more"

#: The command that compiles them, whatever the current directory has.
COMMAND: Final = shlex.join([sys.executable, "-I", "-m", "compileall", "-q", _PACKAGE])


def missing() -> int:
    """Count the modules of the package that have no bytecode for this interpreter."""
    return sum(
        name.endswith(".py")
        and not os.path.exists(importlib.util.cache_from_source(os.path.join(directory, name)))
        for directory, _, names in os.walk(_PACKAGE)
        for name in names
    )
