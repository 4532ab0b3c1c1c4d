# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The root directory of a machine or image, in which a service is installed or removed.

Each change is shown as it is made; with ``--dry-run`` it is only shown.  An image may belong
to another user than the one who runs this, so files are read, made and removed by name in a
directory that was opened inside the image, and no link is followed (`root_path`).
"""

from __future__ import annotations

import argparse
import os
import stat
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from hv_kvp_daemon.cli import terminal
from hv_kvp_daemon.cli.command import CommandError

from .root_path import open_directory, resolve
from .unit_files import UNIT, is_ours

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .unit_files import File


class InstallRoot:
    """``/`` or the directory of ``--root`` (`arguments.add_root`); paths are those inside it.

    :raises CommandError: there is no such directory.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.path = os.path.abspath(options.root)
        if not os.path.isdir(self.path):
            raise CommandError(f"--root {options.root}: no such directory")
        self._dry_run = options.dry_run
        self._yes = options.yes
        #: Whether it is that of a machine on which systemd runs.
        self.is_live = self.path == "/" and os.path.isdir("/run/systemd/system")

    def outside(self, path: str, *, follow: bool = False) -> str:
        """Return the path under which this process finds a path of the root.

        Links on the way to it are followed as if the root were ``/``; one at its end only
        with ``follow``.
        """
        return resolve(self.path, path, follow=follow)

    def inside(self, path: str) -> str:
        """Return a path as the root has it, with all links followed."""
        return f"/{os.path.relpath(self.outside(path, follow=True), self.path)}"

    @contextmanager
    def _parent(self, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """Yield a descriptor of the directory that a path is in, and the name there."""
        directory, name = os.path.split(path)
        folder = open_directory(self.path, directory, create=create)
        try:
            yield folder, name
        finally:
            os.close(folder)

    def exists(self, path: str) -> bool:
        """Return whether there is a file or link, dangling or not."""
        return os.path.lexists(self.outside(path))

    def target(self, path: str) -> str:
        """Return where a symbolic link leads, or nothing."""
        try:
            return os.readlink(self.outside(path))
        except OSError:
            return ""  # not a link

    def is_dangling(self, path: str) -> bool:
        """Return whether a path is a link to what the root does not have."""
        return bool(self.target(path)) and not os.path.lexists(self.outside(path, follow=True))

    def read(self, path: str) -> str:
        """Return a regular file's text, empty where it cannot be read."""
        # O_NONBLOCK, since opening a FIFO waits for its other end.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with self._parent(path) as (folder, name):
                fd = os.open(name, flags, dir_fd=folder)
            with open(fd, encoding="utf-8", errors="replace") as file:
                return file.read() if stat.S_ISREG(os.fstat(fd).st_mode) else ""
        except OSError:
            return ""  # then it does not count as ours

    def is_foreign(self, path: str) -> bool:
        """Return whether a file exists that was not written by ``install-service``."""
        return self.exists(path) and not is_ours(self.read(path))

    def is_others_unit(self, path: str) -> bool:
        """Return whether a unit file is neither a mask nor of ours nor an alias of ours."""
        target = self.target(path)
        if target:
            return target != "/dev/null" and os.path.basename(target) != UNIT
        return self.is_foreign(path)

    def confirmed(self, question: str) -> bool:
        """Ask whether to go on, unless nothing is changed or ``--yes`` was given."""
        return self._dry_run or terminal.confirmed(question, yes=self._yes)

    def require_writable(self, paths: list[str]) -> None:
        """Check that files can be written, before the first is.

        :raises CommandError: one cannot.
        """
        for path in [] if self._dry_run else paths:
            if os.path.isdir(self.outside(path)):
                raise CommandError(f"{self.outside(path)} is a directory; move it away")
            folder = os.path.dirname(self.outside(path))
            while not os.path.lexists(folder):
                folder = os.path.dirname(folder)
            if not os.access(folder, os.W_OK):
                raise CommandError(f"{folder} may not be written; run it as root")

    def _begins(self, change: str) -> bool:
        """Show a change, and return whether to make it."""
        print(terminal.safe(change))
        return not self._dry_run

    def write(self, file: File) -> None:
        """Write a file with mode 0644, replacing one that is there atomically."""
        if self.read(file.path) == file.text:
            return
        if not self._begins(f"write {self.outside(file.path)}"):
            if not file.path.startswith("/usr/local"):
                print("".join(f"    {line}\n" for line in file.text.splitlines()), end="")
            return
        with self._replacement(file.path) as (folder, name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(name, flags, 0o600, dir_fd=folder), "w", encoding="utf-8") as out:
                out.write(file.text)
                os.fchmod(out.fileno(), 0o644)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link, in place of another link if there is one.

        :raises CommandError: there is something else.
        """
        if self.target(path) == target:
            return
        here = self.outside(path)
        if self.exists(path) and not self.target(path):
            raise CommandError(f"{here} exists and is not a link; move it away")
        if self._begins(f"link {here} -> {target}"):
            with self._replacement(path) as (folder, name):
                os.symlink(target, name, dir_fd=folder)

    @contextmanager
    def _replacement(self, path: str) -> Iterator[tuple[int, str]]:
        """Yield a directory and a free name in it; what is made there replaces the path."""
        with self._parent(path, create=True) as (folder, name):
            new = f"{name}.new"
            with suppress(FileNotFoundError):
                os.unlink(new, dir_fd=folder)  # left by a command that was killed
            try:
                yield folder, new
                os.replace(new, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(new, dir_fd=folder)
                raise

    def remove(self, path: str) -> None:
        """Remove a file of ours, and its directory if that is for drop-ins and empty."""
        if not self.exists(path) or self.is_foreign(path):
            return
        if not self._begins(f"remove {self.outside(path)}"):
            return
        with self._parent(path) as (folder, name):
            os.unlink(name, dir_fd=folder)
            empty = not os.listdir(folder)
        directory = os.path.dirname(path)
        if empty and directory.endswith((".service.d", ".target.d")):
            with self._parent(directory) as (folder, name):
                os.rmdir(name, dir_fd=folder)

    def unlink(self, path: str, *targets: str) -> None:
        """Remove a symbolic link that leads to one of ``targets``."""
        if self.target(path) in targets and self._begins(f"remove {self.outside(path)}"):
            with self._parent(path) as (folder, name):
                os.unlink(name, dir_fd=folder)

    def run(self, *argv: str) -> None:
        """Run a command of systemd or udev on a running machine; on an image do nothing.

        :raises CommandError: it failed.
        """
        if not self.is_live or not self._begins(f"run {' '.join(argv)}"):
            return
        with terminal.Progress(" ".join(argv)):
            done = subprocess.run(argv, check=False)  # noqa: S603 - the callers' commands
        if done.returncode:
            raise CommandError(f"{' '.join(argv)} ended with status {done.returncode}")

    def reload_udev(self) -> None:
        """Have udev read its rules, where it runs: in containers it does not."""
        if os.path.exists("/run/udev/control"):
            self.run("udevadm", "control", "--reload")
