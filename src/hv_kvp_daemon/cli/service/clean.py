# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``clean-image``: nothing of this machine's pools goes into an image that is made of it.

A machine that starts from the image would show its host the pairs of the machine that the
image was made of, and find pairs there that a host sent to that one.  Removing
/var/lib/hyperv removes a link only.

A daemon may run beside this, and others may hold a pool.  Each pool is emptied under its
locks first, so that a program that has it open sees it empty; the daemon notices by itself
that a file is gone.  In an image, no link leads out of it (`root_path`).
"""

from __future__ import annotations

import argparse
import os
import re
import stat
from typing import Final

from hv_kvp_daemon.cli import arguments, terminal
from hv_kvp_daemon.cli.command import (
    EXIT_DECLINED,
    EXIT_DONE,
    EXIT_UNUSABLE,
    Command,
    CommandError,
)
from hv_kvp_daemon.pools.errors import LockTimeoutError, PoolError
from hv_kvp_daemon.pools.place import OTHER_DIRECTORY, POOL_DIRECTORY
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.service.instance import RUN_DIRECTORY

from .root_path import open_directory, resolve

_POOL: Final = re.compile(r"\.kvp_pool_([0-4])")
# What the daemon and its tools leave beside the pools: journals, the mark of a boot, and
# the copies that `check --repair` and `import --exact` make.
_BESIDE: Final = re.compile(r"\.hv_kvp_(journal_.*|boot(\.new)?)|hv-kvp-backup-.*")
# Pools first: what is being changed is written to a journal, and a damaged one is renamed.
_OURS: Final = (_POOL, _BESIDE)

# In an image these belong to no process.
_RUN: Final = (re.compile(r"lock|status(\.new)?"),)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_root(parser)
    parser.add_argument(
        "--pool-dir",
        type=arguments.path,
        metavar="DIR",
        help="directory of the pools, if it is neither the running daemon's nor"
        f" {POOL_DIRECTORY} nor {OTHER_DIRECTORY}",
    )


def _clean(options: argparse.Namespace) -> int:
    root = os.path.abspath(options.root)
    if not os.path.isdir(root):
        raise CommandError(f"--root {options.root}: no such directory")
    question = f"Remove all pairs and journals from {root}?"
    if not options.dry_run and not terminal.confirmed(question, yes=options.yes):
        return EXIT_DECLINED
    places: dict[str, tuple[re.Pattern[str], ...]]
    places = dict.fromkeys((POOL_DIRECTORY, OTHER_DIRECTORY), _OURS)
    if root == "/":
        places[arguments.directory(options)] = _OURS
    else:
        places[RUN_DIRECTORY] = _RUN
        if options.pool_dir:
            places[options.pool_dir] = _OURS
    # One directory may have several names: /var/lib/hyperv is a link to the other.
    seen: set[tuple[int, int]] = set()
    done = [
        _clean_directory(root, path, kinds, seen, dry_run=options.dry_run)
        for path, kinds in places.items()
    ]
    return EXIT_DONE if all(done) else EXIT_UNUSABLE


def _clean_directory(
    root: str,
    path: str,
    kinds: tuple[re.Pattern[str], ...],
    seen: set[tuple[int, int]],
    *,
    dry_run: bool,
) -> bool:
    """Remove the files with these kinds of names, and return whether all are gone.

    ``seen`` has the device and inode of the directories that are done.
    """
    shown = resolve(root, path, follow=True)
    try:
        folder = open_directory(root, path)
    except FileNotFoundError:
        return True
    except OSError as error:
        terminal.say(f"{shown}: {error.strerror}")
        return False
    try:
        status = os.fstat(folder)
        identity = status.st_dev, status.st_ino
        if identity in seen:
            return True
        seen.add(identity)
        done = True
        for names in kinds:
            for name in sorted(filter(names.fullmatch, os.listdir(folder))):
                if dry_run:
                    print(f"remove {os.path.join(shown, name)}")
                elif not _remove(folder, name, os.path.join(shown, name)):
                    done = False
        return done
    finally:
        os.close(folder)


def _remove(folder: int, name: str, shown: str) -> bool:
    """Remove one file of a directory, and return whether it is gone; ``shown`` is its path."""
    try:
        kind = os.lstat(name, dir_fd=folder).st_mode
        pool = _POOL.fullmatch(name)
        if pool and stat.S_ISREG(kind):
            # By the directory's descriptor: a path may lead elsewhere meanwhile.
            _empty(int(pool[1]), f"/proc/self/fd/{folder}/{name}")
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError as error:
        terminal.say(f"{shown}: {error.strerror}")
        return False
    except LockTimeoutError as error:
        terminal.say(f"{shown}: {error.reason}")
        return False
    print(f"removed {shown}")
    return True


def _empty(number: int, path: str) -> None:
    file = PoolFile(number, path, report=terminal.say)
    try:
        file.clear()
    except LockTimeoutError:
        raise
    except PoolError:
        return  # a journal that cannot be used, say; it is removed as well
    finally:
        file.close()


CLEAN_IMAGE = Command(
    "clean-image",
    "remove all pairs and journals, before an image is made of this machine",
    _add_arguments,
    _clean,
)
