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
