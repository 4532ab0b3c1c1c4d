# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``make release VERSION=1.2.3``: one commit, a signed tag, sdist and wheel, all checked.

Everything is made in a temporary clone, from what is committed.  This repository changes
last, when nothing is left that could fail but the signature: the tag is made, and then the
branch is moved to the release's commit.  With ``--dry-run`` it does not change, and no key is
needed.  The clone is not below ``build``: hatchling does not follow a .gitignore by which
the project itself is ignored.

The date of the release is written into CHANGELOG.md, and into the man pages with the
version.  sdist and wheel are built twice and have to be the same bit for bit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from pathlib import Path

SOURCE = "src/hv_kvp_daemon/__init__.py"
CHANGELOG = "CHANGELOG.md"
MANUALS = "docs/man"
#: Of the next release, whose heading has this in place of a date.
UNRELEASED = "unreleased"
CHECKS = ("lint", "test", "docs", "types")
OF_MAKE = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "VERSION", "ARGS"}


class Refusal(Exception):  # noqa: N818 - no fault of the program
    """Why there is no release."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("version", help="such as 1.2.3")
    parser.add_argument("--dry-run", action="store_true", help="without tag and key")
    options = parser.parse_args()
    try:
        release(Path.cwd(), options.version, dry_run=options.dry_run)
    except Refusal as refusal:
        print(f"no release: {refusal}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"no release: failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        return 1
    return 0


def release(root: Path, version: str, *, dry_run: bool) -> None:
    """Release a version of the repository at ``root``.

    :raises Refusal: it is in no state for that.
    """
    require_releasable(root, version)
    with tempfile.TemporaryDirectory(prefix="hv-kvp-release-") as path:
        place = Path(path)
        clone, dist = place / "source", place / "dist"
        git(root, "clone", "--quiet", "--no-local", root, clone)
        for name in ("user.name", "user.email"):
            git(clone, "config", name, git(root, "config", name))
        set_version(clone, version, time.strftime("%Y-%m-%d", time.gmtime()))
        message = f"Release {version}"
        git(clone, "commit", "--quiet", "--all", "--allow-empty", "-m", message)
        build(clone, dist)
        try_wheel(place, dist, version)
        for check in CHECKS:
            say(f"make {check}")
            run(clone, "make", check)
        kept = root / "build" / f"release-{version}"
        shutil.copytree(dist, kept, dirs_exist_ok=True)
        if dry_run:
            say(f"dry run: no tag; what would be released is in {kept}")
            return
        git(root, "fetch", "--quiet", clone, "HEAD")
        tag = f"v{version}"
        git(root, "tag", "--sign", tag, "-m", f"hv-kvp-daemon {version}", "FETCH_HEAD")
        git(root, "merge", "--quiet", "--ff-only", "FETCH_HEAD")
        say(f"tagged {tag}; publish the tag, and the files in {kept}")


def require_releasable(root: Path, version: str) -> None:
    """Check that everything is committed, and that this is the next version.

    :raises Refusal: it is not so.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise Refusal(f"{version!r} is no version such as 1.2.3")
    if changed := git(root, "status", "--porcelain"):
        raise Refusal(f"not everything is committed:\n{changed}")
    if git(root, "tag", "--list", f"v{version}"):
        raise Refusal(f"there is a tag v{version} already")
    text = (root / CHANGELOG).read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (.*)\n((?:(?!## ).*\n?)*)", text, re.MULTILINE))
    heading = f"{version} - {UNRELEASED}"
    if heading not in sections:
        raise Refusal(f"{CHANGELOG} has no section {heading!r}")
    if "\n- " not in sections[heading]:
        raise Refusal(f"the section {heading!r} of {CHANGELOG} has no entry")


def set_version(root: Path, version: str, date: str) -> None:
    """Write the version and the date of a release wherever they are."""
    replace(root / SOURCE, r'^__version__ = ".*"$', f'__version__ = "{version}"')
    replace(
        root / CHANGELOG,
        rf"^## {re.escape(version)} - {UNRELEASED}$",
        f"## {version} - {date}",
    )
    for page in (root / MANUALS).iterdir():
        replace(
            page,
            r'^\.TH (\S+) (\d) "[^"]*" "[^"]*"',
            rf'.TH \1 \2 "{date}" "hv-kvp-daemon {version}"',
        )


def replace(path: Path, pattern: str, by: str) -> None:
    """Replace the one line of a file that matches."""
    text, count = re.subn(pattern, by, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if count != 1:
        raise Refusal(f"{path.name} has {count} lines like {pattern}")
    path.write_text(text, encoding="utf-8")


def build(clone: Path, dist: Path) -> None:
    """Build sdist and wheel twice from what is committed, and write their checksums.

    :raises Refusal: the two builds differ, or the sdist has other files.
    """
    say("sdist and wheel, twice")
    again = dist.with_name("again")
    epoch = git(clone, "log", "-1", "--format=%ct")
    for place in (dist, again):
        run(clone, sys.executable, "-m", "build", "--outdir", place, SOURCE_DATE_EPOCH=epoch)
    sums = {path.name: digest(path) for path in sorted(dist.iterdir())}
    if sums != {path.name: digest(path) for path in sorted(again.iterdir())}:
        raise Refusal(f"two builds differ: {dist}, {again}")
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    if packed - {"PKG-INFO"} != {*git(clone, "ls-files").splitlines()}:
        raise Refusal(f"{sdist.name} has other files than the repository")
    lines = "".join(f"{value}  {name}\n" for name, value in sums.items())
    (dist / "SHA256SUMS").write_text(lines, encoding="ascii")
    print(lines, end="")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def try_wheel(place: Path, dist: Path, version: str) -> None:
    """Install the wheel by itself, and let its daemon serve a simulated host.

    :raises Refusal: it has another version.
    """
    say("the wheel, installed")
    venv.create(place / "venv", with_pip=True)
    programs = place / "venv" / "bin"
    (wheel,) = dist.glob("*.whl")
    run(place, programs / "pip", "install", "--quiet", wheel)
    found = subprocess.check_output([programs / "hv-kvp", "--version"], text=True).strip()
    if found != f"hv-kvp {version}":
        raise Refusal(f"the wheel has {found}")
    run(place, programs / "hv-kvp", "host", "intrinsic")


def git(root: Path, *words: str | Path) -> str:
    command = ["git", "-C", root, *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def run(place: Path, *words: str | Path, **environment: str) -> None:
    # make passes its own options and variables on.
    inherited = {k: v for k, v in os.environ.items() if k not in OF_MAKE}
    subprocess.run(words, cwd=place, check=True, env={**inherited, **environment})


def say(text: str) -> None:
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
