# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""atheris on each decoder for a while, beginning with the stored corpus.

``HV_KVP_SOAK_FUZZ=300`` are the seconds for each.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.soak.fuzz import run, unpack
from tests.support.decoders import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = int(os.environ.get("HV_KVP_SOAK_FUZZ", "60"))


@pytest.mark.parametrize("target", TARGETS)
def test_no_bytes_are_too_much(
    target: str, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """The message has the input that fails, in base64."""
    corpus = str(tmp_path / "corpus")
    unpack(corpus, target)
    figures = run(target, corpus, f"-max_total_time={SECONDS}", directory=str(tmp_path))
    tell(f"fuzzing {target}: {figures}")
