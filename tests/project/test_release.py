# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``make release``: what it refuses, and what is in the commit and the tag that it makes.

The checks and builds in between are left out; docs/releasing.md has a dry run with them.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from hv_kvp_daemon import __version__

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".ci" / "release.py"
NEXT = "7.8.9"
CHANGES = (
    f"# Changelog\n\n## {NEXT} - unreleased\n\n### Added\n\n- All.\n\n## 7.8.8 - 2026-01-01\n"
)

# Stands for gpg, with a key for everything.
SIGNER = """\
#!/bin/sh
cat >/dev/null
echo '[GNUPG:] SIG_CREATED ' >&2
echo '-----BEGIN PGP SIGNATURE-----'
echo '-----END PGP SIGNATURE-----'
"""


def git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", root, *words], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the files of this one that a release changes."""
    root = tmp_path_factory.mktemp("release") / "repository"
    for path in (ROOT / "src/hv_kvp_daemon/__init__.py", *(ROOT / "docs/man").iterdir()):
        copy = root / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    (root / "CHANGELOG.md").write_text(CHANGES, encoding="utf-8")
    (root / ".gitignore").write_text("build/\n", encoding="utf-8")
    signer = root.with_name("signer")
    signer.write_text(SIGNER, encoding="utf-8")
    signer.chmod(0o755)
    git(root.parent, "init", "--quiet", str(root))
    with open(root / ".git/config", "a", encoding="utf-8") as file:
        file.write(f"[user]\nname = A\nemail = a@example.com\n[gpg]\nprogram = {signer}\n")
        # Git 2.47 and later clean up in the background, while the files are copied.
        file.write("[maintenance]\nauto = false\n")
    commit(root)
    return root


@pytest.fixture
def repository(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "repository"))


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "-c", "commit.gpgSign=false", "commit", "--quiet", "-m", "Files")


def change_changelog(old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / "CHANGELOG.md"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        commit(root)

    return change


def leave_a_file(root: Path) -> None:
    (root / "new.py").touch()


def tag(root: Path) -> None:
    git(root, "tag", f"v{NEXT}")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (leave_a_file, "not everything is committed:\n?? new.py"),
        (tag, f"there is a tag v{NEXT} already"),
        (change_changelog("unreleased", "2026-11-26"), "has no section '7.8.9 - unreleased'"),
        (change_changelog(f"## {NEXT} - unreleased", "## Unreleased"), "has no section"),
        (change_changelog("\n- All.\n", ""), "the section '7.8.9 - unreleased' of"),
    ],
)
def test_a_release_that_would_not_be_whole_is_refused(
    repository: Path, tool: ModuleType, spoil: Callable[[Path], None], why: str
) -> None:
    spoil(repository)
    with pytest.raises(tool.Refusal, match=re.escape(why)):
        tool.release(repository, NEXT, dry_run=False)
    assert not (repository / "build").exists()


def test_the_command_says_in_one_line_why_there_is_no_release(repository: Path) -> None:
    tag(repository)
    before = git(repository, "for-each-ref")
    done = subprocess.run(
        [sys.executable, PROGRAM, NEXT],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"no release: there is a tag v{NEXT} already\n"
    assert git(repository, "for-each-ref") == before


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "1.0.0rc1", ""])
def test_a_version_has_three_numbers(repository: Path, tool: ModuleType, version: str) -> None:
    with pytest.raises(tool.Refusal, match="is no version such as"):
        tool.require_releasable(repository, version)


@pytest.fixture
def only_git(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "CHECKS", ())
    monkeypatch.setattr(tool, "build", lambda _, dist: dist.mkdir())
    monkeypatch.setattr(tool, "try_wheel", lambda *_: None)


@pytest.mark.usefixtures("only_git")
def test_a_release_is_one_commit_with_a_signed_tag(repository: Path, tool: ModuleType) -> None:
    before = git(repository, "rev-parse", "HEAD")
    tool.release(repository, NEXT, dry_run=False)
    assert git(repository, "rev-parse", "HEAD~1") == before
    assert git(repository, "log", "-1", "--format=%s %an") == f"Release {NEXT} A"
    assert (
        git(repository, "rev-parse", f"v{NEXT}^{{commit}}", "HEAD").split()
        == [git(repository, "rev-parse", "HEAD")] * 2
    )
    assert "-----BEGIN PGP SIGNATURE-----" in git(repository, "cat-file", "tag", f"v{NEXT}")
    assert git(repository, "status", "--porcelain") == ""
    source = (repository / "src/hv_kvp_daemon/__init__.py").read_text(encoding="utf-8")
    assert f'__version__ = "{NEXT}"' in source
    changes = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    (date,) = re.findall(
        rf"^## {re.escape(NEXT)} - (\d{{4}}-\d\d-\d\d)$", changes, re.MULTILINE
    )
    for page in (repository / "docs/man").iterdir():
        assert f'"{date}" "hv-kvp-daemon {NEXT}"' in page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("only_git")
@pytest.mark.parametrize("dry_run", [True, False])
def test_without_a_key_nothing_changes_and_a_dry_run_needs_none(
    repository: Path, tool: ModuleType, *, dry_run: bool
) -> None:
    git(repository, "config", "gpg.program", "false")
    before = git(repository, "for-each-ref")
    if dry_run:
        tool.release(repository, NEXT, dry_run=True)
    else:
        with pytest.raises(subprocess.CalledProcessError):
            tool.release(repository, NEXT, dry_run=False)
    assert git(repository, "for-each-ref") == before
    assert git(repository, "status", "--porcelain") == ""


def test_the_manuals_have_the_packages_version_and_the_changelog_a_section_for_it() -> None:
    for page in (ROOT / "docs/man").iterdir():
        text = page.read_text(encoding="utf-8")
        assert re.search(
            rf'^\.TH \S+ \d "\d{{4}}-\d\d-\d\d" "hv-kvp-daemon {__version__}" ',
            text,
            re.MULTILINE,
        )
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(
        rf"^## {__version__} - (unreleased|\d{{4}}-\d\d-\d\d)$", changes, re.MULTILINE
    )
