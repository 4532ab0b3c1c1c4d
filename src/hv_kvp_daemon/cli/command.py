"""How a command ends: its exit status, and one line that says what to do."""

from __future__ import annotations

EXIT_DONE = 0
EXIT_NOT_FOUND = 1
EXIT_USAGE = 2
EXIT_UNUSABLE = 3


class CommandError(Exception):
    """A command that cannot go on; ``status`` is the exit status."""

    def __init__(self, message: str, status: int = EXIT_UNUSABLE) -> None:
        super().__init__(message)
        self.status = status


class UsageError(CommandError):
    """The command line asks for what cannot be."""

    def __init__(self, message: str) -> None:
        super().__init__(message, EXIT_USAGE)
