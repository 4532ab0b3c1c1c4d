# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The interface of the writers: how settings are given to one network manager.

There is one writer for each manager, in the module beside its reader, and `writers` has the
table of them.  A writer knows the manager's files and commands, and nothing else.  What is
the same for all is in `apply`, which calls a writer in this order:

1. `files`: the whole files that are to be there.  This changes nothing.
2. `apply` notes what these files replace.
3. `prepare`: what the manager can do only with the former files.  Then `apply` writes the
   new ones, atomically and synced.
4. `activate`, if the manager runs: it takes the files, or the settings by commands.
5. `apply` waits until rtnetlink shows the addresses.  No exit status is evidence:
   networkctl and nmcli return 0 for files that their daemons have refused.
6. `confirm` if they are there, or cannot be yet (no carrier).  Otherwise `apply` puts back
   what the files have replaced and calls `revert`.

``hv-kvp ip --forget`` calls `prepare`, puts back what was there before the first request, and
calls `revert`.

A process may be killed at each point.  Then the same request is carried out again from the
start, so each method must be able to follow itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hv_kvp_daemon.guest.files import read_text

if TYPE_CHECKING:
    from .program import Programs
    from .settings import Settings
    from .target import Target


#: The metric of a second and further gateway is this and its number, so that the host's order
#: stays.  It is above that of the first one: 0, or 1024 for IPv6, from the kernel, networkd and
#: ifupdown; from NetworkManager 100 to 1024 by the kind of the device, and 20000 more while its
#: connectivity check fails.
METRIC: Final = 32768

#: Begins each file; ``name`` is the interface.
COMMENTS: Final = """\
# Written by hv-kvp-daemon: addresses that the Hyper-V host has set for this guest.
# The host's next request replaces this file, so changes of it are lost.
# To undo it and have the former settings back: hv-kvp ip --forget {name}
"""
_OVERRIDES: Final = "# In its place without this one, and the source of its other settings: "


class WriterError(Exception):
    """The settings cannot be given to the manager; the text says why."""


class File(NamedTuple):
    """A file of a manager: its absolute path, whole text and permissions."""

    path: str
    text: str
    mode: int = 0o644


class Writer:
    """Gives settings for one interface to one manager.

    Files and programs are those below ``programs.root``; ``programs.run`` starts a program
    without a shell, and ``programs.report`` takes a line for the log.
    """

    def __init__(self, target: Target, programs: Programs) -> None:
        self.target = target
        self.programs = programs
        self.root = programs.root

    @property
    def path(self) -> str:
        """The file with the settings; there may be others beside it."""
        raise NotImplementedError

    def is_running(self) -> bool:
        """Whether the manager runs, so that it can take settings now."""
        raise NotImplementedError

    def files(self, settings: Settings) -> list[File]:
        """Return the files that are to be there, with paths on the managed machine.

        A family that is None keeps what it has now.  What the settings do not speak of
        (MTU, domains, VLANs, other routes) stays, too.  Each file has the lines of
        `comments`, and each of its other lines is made of `settings`, of ``target.name`` or
        of the administrator's own files: never of text of the host.

        :raises WriterError: the manager cannot have these settings here.
        """
        raise NotImplementedError

    def prepare(self) -> None:
        """The files are to be replaced: do what needs those that are there, if it runs."""

    def activate(self, settings: Settings) -> None:
        """Make the manager take the files; or give it the settings by commands.

        The time limit is that of the `Programs`.  Success need not be certain.

        :raises WriterError: it has certainly not taken them.
        """
        raise NotImplementedError

    def confirm(self) -> None:
        """The settings are in force: give up what `revert` would need (a checkpoint)."""

    def revert(self) -> None:
        """The files are as they were before: make the manager take that, if it runs.

        For settings that were given by commands, take them back.
        """
        raise NotImplementedError

    def used_instead(self) -> str:
        """Return what the manager uses instead of the files, or beside them; empty: nothing."""
        return ""

    def overridden(self) -> str:
        """Return the administrator's file that ours says it overrides, or nothing."""
        for line in (read_text(self.root, self.path) or "").splitlines():
            if line.startswith(_OVERRIDES):
                return line.removeprefix(_OVERRIDES)
        return ""

    def comments(self, overridden: str = "") -> list[str]:
        """Return the lines at the start of each file; a file that is overridden is named."""
        lines = COMMENTS.format(name=self.target.name).splitlines()
        return [*lines, _OVERRIDES + overridden] if overridden else lines
