"""The table of the writers, by the names that ``--ip-backend`` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import manager
from .networkd_writer import NetworkdWriter

if TYPE_CHECKING:
    from .writer import Writer

WRITERS: Final[dict[str, type[Writer]]] = {
    manager.NETWORKD: NetworkdWriter,
}
