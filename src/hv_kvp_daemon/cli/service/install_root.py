"""The root directory of a machine or image, in which a service is installed or removed.

With ``--dry-run`` the changes are only shown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from typing import TYPE_CHECKING

from hv_kvp_daemon.cli import terminal
from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.pools.opening import make_directory

from .root_path import resolve
from .unit_files import UNIT, is_ours

if TYPE_CHECKING:
    from .unit_files import File


class InstallRoot:
    """``/`` or the directory of ``--root``; paths are those inside it.

    :raises CommandError: there is no such directory.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.path = os.path.abspath(options.root)
        if not os.path.isdir(self.path):
            raise CommandError(f"--root {options.root}: no such directory")
        self._dry_run = options.dry_run
        self._yes = options.yes
        self._is_live = self.path == "/" and os.path.isdir("/run/systemd/system")

    def outside(self, path: str) -> str:
        """Return the path under which this process finds a path of the root.

        Links on the way to it are followed as if the root were ``/``.
        """
        return resolve(self.path, path)

    def exists(self, path: str) -> bool:
        """Return whether there is a file or link, dangling or not."""
        return os.path.lexists(self.outside(path))

    def target(self, path: str) -> str:
        """Return where a symbolic link leads, or nothing."""
        try:
            return os.readlink(self.outside(path))
        except OSError:
            return ""  # not a link

    def read(self, path: str) -> str:
        """Return a file's text, empty where it cannot be read."""
        try:
            with open(self.outside(path), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""  # then it does not count as ours

    def is_foreign(self, path: str) -> bool:
        """Return whether a file exists that was not written by ``install-service``."""
        return self.exists(path) and not is_ours(self.read(path))

    def confirmed(self, question: str) -> bool:
        """Ask whether to go on, unless nothing is changed or ``--yes`` was given."""
        return self._dry_run or terminal.confirmed(question, yes=self._yes)

    def require_writable(self, paths: list[str]) -> None:
        """Check that files can be written, before the first is.

        :raises CommandError: one cannot.
        """
        for path in [] if self._dry_run else paths:
            folder = os.path.dirname(self.outside(path))
            while not os.path.lexists(folder):
                folder = os.path.dirname(folder)
            if not os.access(folder, os.W_OK):
                raise CommandError(f"{folder} may not be written; run it as root")

    def _begins(self, change: str) -> bool:
        """Return whether to make a change: with ``--dry-run`` it is shown instead."""
        if self._dry_run:
            print(change)
        return not self._dry_run

    def write(self, file: File) -> None:
        """Write a file with mode 0644, replacing one that is there atomically."""
        path = self.outside(file.path)
        if not self._begins(f"write {path}"):
            if not file.path.startswith("/usr/local"):
                print("".join(f"    {line}\n" for line in file.text.splitlines()), end="")
            return
        make_directory(os.path.dirname(path), sync=False)
        new = f"{path}.new"
        # A link under this name, which could lead out of an image, is not followed.
        if os.path.lexists(new):
            os.unlink(new)
        with open(new, "x", encoding="utf-8") as out:
            os.fchmod(out.fileno(), 0o644)
            out.write(file.text)
        os.replace(new, path)

    def remove(self, path: str) -> None:
        """Remove a file of ours, and its directory if that is our unit's and empty."""
        if not self.exists(path) or self.is_foreign(path):
            return
        if not self._begins(f"remove {self.outside(path)}"):
            return
        os.unlink(self.outside(path))
        folder = os.path.dirname(self.outside(path))
        if folder.endswith(".d") and UNIT in folder and not os.listdir(folder):
            os.rmdir(folder)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link, in place of another link if there is one.

        :raises CommandError: there is something else.
        """
        here = self.outside(path)
        if not self._begins(f"link {here} -> {target}"):
            return
        if os.path.lexists(here) and not os.path.islink(here):
            raise CommandError(f"{here} exists and is not a link; move it away")
        make_directory(os.path.dirname(here), sync=False)
        new = f"{here}.new"
        if os.path.lexists(new):
            os.unlink(new)
        os.symlink(target, new)
        os.replace(new, here)

    def unlink(self, path: str, *targets: str) -> None:
        """Remove a symbolic link that leads to one of ``targets``."""
        if self.target(path) in targets and self._begins(f"remove {self.outside(path)}"):
            os.unlink(self.outside(path))

    def run(self, *argv: str) -> None:
        """Run a command of systemd or udev on a running machine; on an image do nothing.

        :raises CommandError: it failed.
        """
        if not self._is_live or not self._begins(f"run {' '.join(argv)}"):
            return
        with terminal.Progress(" ".join(argv)):
            done = subprocess.run(argv, check=False)  # noqa: S603 - the callers' commands
        if done.returncode:
            raise CommandError(f"{' '.join(argv)} ended with status {done.returncode}")
