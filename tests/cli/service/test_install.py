"""``install-service`` and ``uninstall-service`` on an image's root."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.command import Terminal, run

if TYPE_CHECKING:
    from pathlib import Path

UNIT = "etc/systemd/system/hv-kvp-daemon.service"
SYSTEM = "usr/local/lib/systemd/system"
ALIAS = f"{SYSTEM}/hv_kvp_daemon.service"
DROP_IN = f"{UNIT}.d/chardev.conf"
DAEMON = os.path.join(os.path.dirname(sys.executable), "hv_kvp_daemon")


def install(root: Path, *words: str) -> tuple[int, str, str]:
    return run("install-service", f"--root={root}", *words)


def settings(root: Path, path: str = UNIT) -> list[str]:
    lines = (root / path).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def tree(root: Path) -> set[str]:
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


def test_the_unit_names_this_installation(tmp_path: Path) -> None:
    status, out, err = install(tmp_path)
    assert (status, out) == (0, "")
    assert f"ExecStart={DAEMON} -n --clear-stale" in settings(tmp_path)
    assert "ReadWritePaths=-/var/opt/hyperv -/var/lib/hyperv" in settings(tmp_path)
    assert os.readlink(tmp_path / ALIAS) == f"/{UNIT}"
    assert "any local user can" in err
    assert "--transport chardev" in err
    rules = settings(tmp_path, "etc/udev/rules.d/90-hv-kvp-daemon.rules")
    assert any("hv-kvp-daemon.service" in line for line in rules)


def test_uninstall_takes_away_all_that_was_written_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "etc/udev/rules.d").mkdir(parents=True)
    (tmp_path / "etc/udev/rules.d/other.rules").write_text("theirs")
    before = tree(tmp_path)
    install(tmp_path, "--transport", "chardev")
    install(tmp_path, "--transport", "chardev")
    assert len(tree(tmp_path)) > len(before) + 4
    assert run("uninstall-service", f"--root={tmp_path}", "--yes") == (0, "", "")
    assert tree(tmp_path) == before
    assert not (tmp_path / UNIT).parent.joinpath("hv-kvp-daemon.service.d").exists()
    assert run("uninstall-service", f"--root={tmp_path}", "--yes").status == 1


@pytest.mark.parametrize("there", ["nothing", "a directory", "a link"])
def test_the_place_of_the_pools_is_left_to_each_start(tmp_path: Path, there: str) -> None:
    """U1: what is there at installation may not be there, or be another, at a start."""
    (tmp_path / "var/lib").mkdir(parents=True)
    if there == "a directory":
        (tmp_path / "var/lib/hyperv").mkdir()
    if there == "a link":
        (tmp_path / "var/opt/hyperv").mkdir(parents=True)
        (tmp_path / "var/lib/hyperv").symlink_to("../opt/hyperv")
    install(tmp_path)
    lines = settings(tmp_path)
    assert f"ExecStart={DAEMON} -n --clear-stale" in lines
    assert "ReadWritePaths=-/var/opt/hyperv -/var/lib/hyperv" in lines
    assert "RequiresMountsFor=/var/opt/hyperv /var/lib/hyperv" in lines


def test_a_pool_directory_that_is_named_is_the_only_one(tmp_path: Path) -> None:
    install(tmp_path, "--pool-dir", "/var/lib/hyperv")
    lines = settings(tmp_path)
    assert f"ExecStart={DAEMON} -n --clear-stale --pool-dir /var/lib/hyperv" in lines
    assert "ReadWritePaths=-/var/lib/hyperv" in lines
    assert "RequiresMountsFor=/var/lib/hyperv" in lines
    assert settings(tmp_path, "etc/tmpfiles.d/hv-kvp-daemon.conf") == [
        "d /var/lib/hyperv 0755 root root -",
        "d /run/dbus 0755 root root -",  # for the unit's InaccessiblePaths
    ]


def test_a_pool_directory_with_blanks_and_percent_is_quoted(tmp_path: Path) -> None:
    install(tmp_path, "--pool-dir", "/srv/a b%c")
    assert f'ExecStart={DAEMON} -n --clear-stale --pool-dir "/srv/a b%%c"' in settings(tmp_path)


@pytest.mark.parametrize("path", ["relative", '/a"b', "/a\nb"])
def test_a_path_that_systemd_cannot_take_is_refused(tmp_path: Path, path: str) -> None:
    assert install(tmp_path, "--pool-dir", path)[0] in {2, 3}
    assert tree(tmp_path) == set()


def test_the_char_device_is_a_drop_in_that_another_choice_removes(tmp_path: Path) -> None:
    status, _, err = install(tmp_path, "--transport", "chardev")
    assert (status, err) == (0, "")
    lines = settings(tmp_path, DROP_IN)
    assert f"ExecStart={DAEMON} -n --clear-stale --transport chardev" in lines
    assert "CapabilityBoundingSet=" in lines
    install(tmp_path, "--transport", "netlink")
    assert not (tmp_path / DROP_IN).exists()
    assert f"ExecStart={DAEMON} -n --clear-stale --transport netlink" in settings(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "hypervkvpd.service",  # Fedora, RHEL
        "hv_kvp_daemon.service",  # SUSE
        "hyperv-daemons.hv-kvp-daemon.service",  # Debian
    ],
)
def test_a_distributions_unit_is_replaced_by_an_alias_after_asking(
    tmp_path: Path, name: str
) -> None:
    """U6: it was masked, and `systemctl enable --now hypervkvpd` of a kickstart failed."""
    theirs = tmp_path / "usr/lib/systemd/system" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Service]\nExecStart=/usr/sbin/hypervkvpd\n")
    before = tree(tmp_path)
    status, _, err = install(tmp_path)
    assert status == 2
    assert f"Stop and replace {name}?" in err
    assert tree(tmp_path) == before
    for _ in range(2):
        assert install(tmp_path, "--yes")[0] == 0
        assert os.readlink(tmp_path / SYSTEM / name) == f"/{UNIT}"
        assert not os.path.lexists(tmp_path / "etc/systemd/system" / name)
    assert run("uninstall-service", f"--root={tmp_path}", "--yes").status == 0
    assert tree(tmp_path) == before


def test_the_names_that_others_use_are_aliases_on_any_machine(tmp_path: Path) -> None:
    assert install(tmp_path)[0] == 0
    for name in ("hv_kvp_daemon.service", "hypervkvpd.service"):
        assert os.readlink(tmp_path / SYSTEM / name) == f"/{UNIT}"
    assert sorted(os.listdir(tmp_path / SYSTEM)) == [
        "hv_kvp_daemon.service",
        "hypervkvpd.service",
    ]


def test_masks_and_aliases_of_an_earlier_installation_go(tmp_path: Path) -> None:
    system = tmp_path / "etc/systemd/system"
    system.mkdir(parents=True)
    (system / "hypervkvpd.service").symlink_to("/dev/null")
    (system / "hv_kvp_daemon.service").symlink_to(f"/{UNIT}")
    assert install(tmp_path)[0] == 0
    assert sorted(os.listdir(system)) == [
        *("hv-kvp-daemon.service", "hv-kvp-ip.service", "hv-kvp-ip.socket"),
    ]


@pytest.mark.parametrize("folder", ["run/systemd/system", SYSTEM])
def test_a_unit_that_overrides_the_alias_is_overridden_in_etc(
    tmp_path: Path, folder: str
) -> None:
    theirs = tmp_path / folder / "hypervkvpd.service"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Service]\nExecStart=/usr/sbin/hypervkvpd\n")
    before = tree(tmp_path)
    assert install(tmp_path, "--yes")[0] == 0
    assert os.readlink(tmp_path / "etc/systemd/system/hypervkvpd.service") == f"/{UNIT}"
    assert run("uninstall-service", f"--root={tmp_path}", "--yes").status == 0
    assert tree(tmp_path) == before


def test_an_administrators_unit_of_an_aliass_name_is_named_before_anything_is_done(
    tmp_path: Path,
) -> None:
    theirs = tmp_path / "etc/systemd/system/hypervkvpd.service"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Service]\n")
    before = tree(tmp_path)
    status, _, err = install(tmp_path, "--yes")
    assert status == 3
    assert "hypervkvpd.service is another unit; move it away" in err
    assert tree(tmp_path) == before


def test_an_administrators_own_unit_is_replaced_only_after_asking(tmp_path: Path) -> None:
    unit = tmp_path / UNIT
    unit.parent.mkdir(parents=True)
    unit.write_text("# mine\n")
    with Terminal("install-service", f"--root={tmp_path}", columns=200) as terminal:
        terminal.wait_for("Replace files of others: /etc/systemd/system/hv-kvp-daemon.service")
        terminal.type("n\n")
        assert terminal.end() == 0
    assert unit.read_text() == "# mine\n"
    assert run("uninstall-service", f"--root={tmp_path}", "--yes").status == 1
    assert unit.read_text() == "# mine\n"


def test_dry_run_shows_the_files_and_writes_none(tmp_path: Path) -> None:
    status, out, _ = install(tmp_path, "--dry-run")
    assert status == 0
    assert f"write {tmp_path}/{UNIT}\n" in out
    assert f"    ExecStart={DAEMON} -n --clear-stale\n" in out
    assert tree(tmp_path) == set()


def test_a_root_that_may_not_be_written_is_named_before_anything_is_done(
    tmp_path: Path,
) -> None:
    if os.geteuid():
        tmp_path.chmod(0o555)
        status, _, err = install(tmp_path)
        assert status == 3
        assert "may not be written" in err
    assert install(tmp_path / "gone")[0] == 3


@pytest.mark.parametrize("transport", ["auto", "netlink", "chardev"])
def test_systemd_takes_the_unit(tmp_path: Path, transport: str) -> None:
    analyze = next(
        (p for p in ("/usr/bin/systemd-analyze", "/bin/systemd-analyze") if os.path.exists(p)),
        None,
    )
    if analyze is None:
        pytest.skip("no systemd-analyze here; the VM has one")
    install(tmp_path, "--transport", transport, "--pool-dir", "/srv/a b%c")
    done = subprocess.run(
        [analyze, "verify", "--man=no", "--generators=no", str(tmp_path / UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    problems = [line for line in done.stderr.splitlines() if "hv-kvp-daemon" in line]
    assert problems == []


def test_what_is_installed_is_valid_for_its_readers(tmp_path: Path) -> None:
    install(tmp_path)
    share = tmp_path / "usr/local/share"
    compdef = (share / "zsh/site-functions/_hv-kvp").read_text()
    assert compdef.startswith("#compdef hv-kvp\n")
    manual = (share / "man/man1/hv-kvp.1").read_text()
    assert manual.startswith('.\\" Written by hv-kvp install-service')
    bash = share / "bash-completion/completions/hv-kvp"
    subprocess.run(["bash", "-n", bash], check=True)


def test_a_link_in_the_way_of_a_new_file_is_not_followed(tmp_path: Path) -> None:
    image = tmp_path / "image"
    outside = tmp_path / "outside"
    outside.write_text("theirs")
    (image / UNIT).parent.mkdir(parents=True)
    (image / f"{UNIT}.new").symlink_to(outside)
    status, _, _ = install(image)
    assert status == 0
    assert outside.read_text() == "theirs"
    assert f"ExecStart={DAEMON} -n --clear-stale" in settings(image)


def tmpfiles(root: Path) -> list[list[str]]:
    """What systemd-tmpfiles is asked to make, for each line its fields."""
    return [line.split() for line in settings(root, "etc/tmpfiles.d/hv-kvp-daemon.conf")]


@pytest.mark.parametrize("pool_dir", ["/var/opt/hyperv", "/srv/kvp", "/var/lib/other/kvp"])
def test_the_link_to_the_pools_stays_inside_a_mounted_image(
    tmp_path: Path, pool_dir: str
) -> None:
    """U2: rm in $IMG/var/lib/hyperv emptied the pools of the machine that built the image."""
    install(tmp_path, "--pool-dir", pool_dir)
    made, link, _ = tmpfiles(tmp_path)
    assert made[:2] == ["d", pool_dir]
    assert link[:2] == ["L", "/var/lib/hyperv"]
    (tmp_path / pool_dir.lstrip("/")).mkdir(parents=True, exist_ok=True)
    (tmp_path / "var/lib").mkdir(parents=True, exist_ok=True)
    (tmp_path / "var/lib/hyperv").symlink_to(link[-1])
    assert os.path.realpath(tmp_path / "var/lib/hyperv") == f"{tmp_path}{pool_dir}"


def test_an_absolute_link_of_an_earlier_installation_becomes_relative(tmp_path: Path) -> None:
    link = tmp_path / "var/lib/hyperv"
    link.parent.mkdir(parents=True)
    link.symlink_to("/var/opt/hyperv")
    install(tmp_path)
    assert os.readlink(link) == "../opt/hyperv"
    link.unlink()
    link.symlink_to("/srv/theirs")
    install(tmp_path)
    assert os.readlink(link) == "/srv/theirs"


def test_nothing_is_written_or_removed_through_an_absolute_link_of_an_image(
    tmp_path: Path,
) -> None:
    """U2, of the same kind: such a link names a place of the image, not of this machine."""
    outside = tmp_path / "outside"
    (outside / "systemd/system").mkdir(parents=True)
    image = tmp_path / "image"
    (image / "etc").mkdir(parents=True)
    (image / "etc/systemd").symlink_to(outside / "systemd")
    assert install(image)[0] == 0
    assert tree(outside) == set()
    assert (image / str(outside).lstrip("/") / "systemd/system/hv-kvp-daemon.service").exists()
    assert run("uninstall-service", f"--root={image}", "--yes").status == 0
    assert tree(image) == {"etc/systemd"}


def test_a_pool_directory_with_blanks_is_one_field_for_tmpfiles(tmp_path: Path) -> None:
    install(tmp_path, "--pool-dir", "/srv/a b%c")
    made, link, _ = settings(tmp_path, "etc/tmpfiles.d/hv-kvp-daemon.conf")
    assert made == 'd "/srv/a b%%c" 0755 root root -'
    assert link == "L /var/lib/hyperv - - - - ../../srv/a b%%c"
