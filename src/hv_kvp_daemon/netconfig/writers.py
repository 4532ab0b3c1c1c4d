# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The table of the writers, by the names that ``--ip-backend`` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import manager
from .direct_writer import DirectWriter
from .ifupdown_writer import IfupdownWriter
from .networkd_writer import NetworkdWriter
from .networkmanager_writer import NetworkManagerWriter
from .script_writer import ScriptWriter

if TYPE_CHECKING:
    from .writer import Writer

WRITERS: Final[dict[str, type[Writer]]] = {
    manager.NETWORKMANAGER: NetworkManagerWriter,
    manager.NETWORKD: NetworkdWriter,
    manager.IFUPDOWN: IfupdownWriter,
    manager.DIRECT: DirectWriter,
    "script": ScriptWriter,
}
