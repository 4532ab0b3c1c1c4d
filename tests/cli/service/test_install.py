# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``install-service`` and ``uninstall-service`` on an image's root.

tests/driver/scenarios/operator.py has them on a booted machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hv_kvp_daemon.cli.service import install as module
from hv_kvp_daemon.cli.service.exec_start import find, words
from hv_kvp_daemon.cli.service.install import _outcome
from hv_kvp_daemon.cli.service.install_root import InstallRoot
from hv_kvp_daemon.cli.service.installation import _places
from hv_kvp_daemon.service.status import find as find_status
from hv_kvp_daemon.service.status_page import loopback_path
from hv_kvp_daemon.wire.uapi import KVP_OP_GET, KVP_OP_SET
from tests.support.command import Terminal, call, run
from tests.support.emulator import require_own_process_image
from tests.support.process import DEADLINE, RunningDaemon, wait_for

UNIT = "etc/systemd/system/hv-kvp.service"
SYSTEM = "usr/local/lib/systemd/system"
ALIAS = f"{SYSTEM}/hv_kvp_daemon.service"
DROP_IN = f"{UNIT}.d/chardev.conf"
OPTIONS = f"{UNIT}.d/options.conf"
DAEMON = os.path.join(os.path.dirname(sys.executable), "hv_kvp_daemon")
INTERPRETER = f"{os.path.dirname(DAEMON)}/python3"
PROGRAM = {DAEMON.lstrip("/"), INTERPRETER.lstrip("/")}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image that has the package where this machine has it."""
    root = tmp_path / "image"
    for name in PROGRAM:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{INTERPRETER}\n")
        path.chmod(0o755)
    return root


def install(root: Path, *words: str) -> tuple[int, str, str]:
    return call("install-service", f"--root={root}", *words)


def settings(root: Path, path: str = UNIT) -> list[str]:
    lines = (root / path).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def tree(root: Path) -> set[str]:
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_symlink() or not path.is_dir()
    } - PROGRAM


def test_the_unit_names_this_installation(image: Path) -> None:
    status, out, err = run("install-service", f"--root={image}")
    assert status == 0
    assert f"write {image}/{UNIT}\n" in out
    assert out.endswith(f"hv-kvp.service is installed in {image}\n")
    assert f"ExecStart={DAEMON} -n --clear-stale" in settings(image)
    assert "ReadWritePaths=-/var/opt/hyperv -/var/lib/hyperv" in settings(image)
    assert os.readlink(image / ALIAS) == f"/{UNIT}"
    assert "any local user can" in err
    assert "--transport chardev" in err
    rules = settings(image, "etc/udev/rules.d/90-hv-kvp-daemon.rules")
    assert any("hv-kvp.service" in line for line in rules)


def test_uninstall_takes_away_all_that_was_written_and_nothing_else(image: Path) -> None:
    (image / "etc/udev/rules.d").mkdir(parents=True)
    (image / "etc/udev/rules.d/other.rules").write_text("theirs")
    before = tree(image)
    install(image, "--transport", "chardev")
    install(image, "--transport", "chardev")
    assert len(tree(image)) > len(before) + 4
    done = call("uninstall-service", f"--root={image}", "--yes")
    assert (done.status, done.err) == (0, "")
    assert f"remove {image}/{UNIT}\n" in done.out
    assert done.out.endswith(
        "no KVP daemon is left, so the host gets no answers from this guest\n"
    )
    assert tree(image) == before
    assert not list((image / UNIT).parent.glob("*.d"))
    assert call("uninstall-service", f"--root={image}", "--yes").status == 1


@pytest.mark.parametrize("there", ["nothing", "a directory", "a link"])
def test_the_place_of_the_pools_is_left_to_each_start(image: Path, there: str) -> None:
    """U1: what is there at installation may not be there, or be another, at a start."""
    (image / "var/lib").mkdir(parents=True)
    if there == "a directory":
        (image / "var/lib/hyperv").mkdir()
    if there == "a link":
        (image / "var/opt/hyperv").mkdir(parents=True)
        (image / "var/lib/hyperv").symlink_to("../opt/hyperv")
    install(image)
    lines = settings(image)
    assert f"ExecStart={DAEMON} -n --clear-stale" in lines
    assert "ReadWritePaths=-/var/opt/hyperv -/var/lib/hyperv" in lines
    assert "RequiresMountsFor=/var/opt/hyperv /var/lib/hyperv" in lines


def test_a_pool_directory_that_is_named_is_the_only_one(image: Path) -> None:
    install(image, "--pool-dir", "/var/lib/hyperv")
    lines = settings(image)
    assert f"ExecStart={DAEMON} -n --clear-stale --pool-dir /var/lib/hyperv" in lines
    assert "ReadWritePaths=-/var/lib/hyperv" in lines
    assert "RequiresMountsFor=/var/lib/hyperv" in lines
    assert settings(image, "etc/tmpfiles.d/hv-kvp-daemon.conf") == [
        "d /var/lib/hyperv 0755 root root -",
    ]


def test_a_path_is_escaped_for_each_of_its_readers(image: Path) -> None:
    """I6: systemd expanded the ``$`` of a path in ExecStart=."""
    install(image, "--pool-dir", "/srv/a b%c$d")
    lines = settings(image)
    assert f'ExecStart={DAEMON} -n --clear-stale --pool-dir "/srv/a b%%c$$d"' in lines
    assert 'RequiresMountsFor="/srv/a b%%c$d"' in lines
    assert 'ReadWritePaths="-/srv/a b%%c$d"' in lines
    made, link = settings(image, "etc/tmpfiles.d/hv-kvp-daemon.conf")
    assert made == 'd "/srv/a b%%c$d" 0755 root root -'
    assert link == "L /var/lib/hyperv - - - - ../../srv/a b%%c$d"


@pytest.mark.parametrize(
    "path", ["relative", '/a"b', "/a\nb", "/a\\b", "/a\x07", "/a ", "/\udcff"]
)
def test_a_path_that_systemd_cannot_take_is_refused(image: Path, path: str) -> None:
    assert install(image, "--pool-dir", path)[0] in {2, 3}
    assert tree(image) == set()


def test_the_char_device_is_a_drop_in_that_another_choice_removes(image: Path) -> None:
    status, _, err = install(image, "--transport", "chardev")
    # The image of an ordinary user is that user's.
    said = [line for line in err.splitlines() if "others may write" not in line]
    assert (status, said) == (0, [])
    lines = settings(image, DROP_IN)
    assert f"ExecStart={DAEMON} -n --clear-stale --transport chardev" in lines
    assert "CapabilityBoundingSet=" in lines
    install(image, "--transport", "netlink")
    assert not (image / DROP_IN).exists()
    assert f"ExecStart={DAEMON} -n --clear-stale --transport netlink" in settings(image)


@pytest.mark.parametrize(
    "name",
    [
        "hypervkvpd.service",  # Fedora, RHEL
        "hv_kvp_daemon.service",  # SUSE
        "hv-kvp-daemon.service",  # Debian, Ubuntu
        "hyperv-daemons.hv-kvp-daemon.service",  # Debian 10
    ],
)
def test_a_distributions_unit_is_replaced_by_an_alias_after_asking(
    image: Path, name: str
) -> None:
    """U6, I10: it was masked, and `systemctl enable --now hypervkvpd` of a kickstart failed."""
    theirs = image / "usr/lib/systemd/system" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Service]\nExecStart=/usr/sbin/hypervkvpd\n")
    before = tree(image)
    status, _, err = install(image)
    assert status == 2
    assert f"Stop and replace {name}?" in err
    assert tree(image) == before
    for _ in range(2):
        assert install(image, "--yes")[0] == 0
        assert os.readlink(image / SYSTEM / name) == f"/{UNIT}"
        assert not os.path.lexists(image / "etc/systemd/system" / name)
    assert call("uninstall-service", f"--root={image}", "--yes").status == 0
    assert tree(image) == before


def test_the_names_that_others_use_are_aliases_on_any_machine(image: Path) -> None:
    assert install(image)[0] == 0
    names = ["hv-kvp-daemon.service", "hv_kvp_daemon.service", "hypervkvpd.service"]
    assert sorted(os.listdir(image / SYSTEM)) == names
    for name in names:
        assert os.readlink(image / SYSTEM / name) == f"/{UNIT}"


def test_masks_and_aliases_of_an_earlier_installation_go(image: Path) -> None:
    system = image / "etc/systemd/system"
    system.mkdir(parents=True)
    (system / "hypervkvpd.service").symlink_to("/dev/null")
    (system / "hv_kvp_daemon.service").symlink_to(f"/{UNIT}")
    assert install(image)[0] == 0
    assert sorted(os.listdir(system)) == [
        *("hv-kvp-ip.service", "hv-kvp-ip.socket"),
        *("hv-kvp-nmcli.socket", "hv-kvp-nmcli@.service"),
        *("hv-kvp-resolvectl.socket", "hv-kvp-resolvectl@.service"),
        *("hv-kvp-watch@.service", "hv-kvp.service", "multi-user.target.d"),
    ]


@pytest.mark.parametrize("folder", ["run/systemd/system", SYSTEM])
def test_a_unit_that_overrides_the_alias_is_overridden_in_etc(image: Path, folder: str) -> None:
    theirs = image / folder / "hypervkvpd.service"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Service]\nExecStart=/usr/sbin/hypervkvpd\n")
    before = tree(image)
    assert install(image, "--yes")[0] == 0
    assert os.readlink(image / "etc/systemd/system/hypervkvpd.service") == f"/{UNIT}"
    assert call("uninstall-service", f"--root={image}", "--yes").status == 0
    assert tree(image) == before


def test_an_administrators_unit_of_an_aliass_name_is_named_before_anything_is_done(
    image: Path,
) -> None:
    theirs = image / "etc/systemd/system/hypervkvpd.service"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Service]\n")
    before = tree(image)
    status, _, err = install(image, "--yes")
    assert status == 3
    assert "hypervkvpd.service is another unit; move it away" in err
    assert tree(image) == before


def test_an_administrators_own_unit_is_replaced_only_after_asking(image: Path) -> None:
    unit = image / UNIT
    unit.parent.mkdir(parents=True)
    unit.write_text("# mine\n")
    with Terminal("install-service", f"--root={image}", columns=200) as terminal:
        terminal.wait_for("Replace files of others: /etc/systemd/system/hv-kvp.service")
        terminal.type("n\n")
        assert terminal.end() == 1
    assert unit.read_text() == "# mine\n"
    assert call("uninstall-service", f"--root={image}", "--yes").status == 1
    assert unit.read_text() == "# mine\n"


def test_dry_run_shows_the_files_and_writes_none(image: Path) -> None:
    status, out, _ = install(image, "--dry-run")
    assert status == 0
    assert f"write {image}/{UNIT}\n" in out
    assert f"    ExecStart={DAEMON} -n --clear-stale\n" in out
    assert tree(image) == set()


def test_a_root_that_may_not_be_written_is_named_before_anything_is_done(
    image: Path,
) -> None:
    if os.geteuid():
        image.chmod(0o555)
        status, _, err = install(image)
        assert status == 3
        assert "may not be written" in err
    assert install(image / "gone")[0] == 3


@pytest.mark.parametrize("transport", ["auto", "netlink", "chardev"])
def test_systemd_takes_the_unit(image: Path, transport: str) -> None:
    analyze = next(
        (p for p in ("/usr/bin/systemd-analyze", "/bin/systemd-analyze") if os.path.exists(p)),
        None,
    )
    if analyze is None:
        pytest.skip("no systemd-analyze here; the VM has one")
    install(image, "--transport", transport, "--pool-dir", "/srv/a b%c")
    done = subprocess.run(
        [
            *(analyze, "verify", "--man=no", "--generators=no", str(image / UNIT)),
            str(image / UNIT).replace("hv-kvp-daemon", "hv-kvp-watch@"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    problems = [line for line in done.stderr.splitlines() if "hv-kvp-" in line]
    assert problems == []


def test_what_is_installed_is_valid_for_its_readers(image: Path) -> None:
    install(image)
    share = image / "usr/local/share"
    compdef = (share / "zsh/site-functions/_hv-kvp").read_text()
    assert compdef.startswith("#compdef hv-kvp\n")
    manual = (share / "man/man1/hv-kvp.1").read_text()
    assert manual.startswith('.\\" Written by hv-kvp install-service')
    # man-db looks there whether a page needs tbl.
    assert (share / "man/man5/kvp-pool.5").read_text().startswith('\'\\" t\n.\\" Written by')
    bash = share / "bash-completion/completions/hv-kvp"
    subprocess.run(["bash", "-n", bash], check=True)


def test_a_link_in_the_way_of_a_new_file_is_not_followed(tmp_path: Path, image: Path) -> None:
    """I5: the file of the machine that the link leads to was overwritten."""
    outside = tmp_path / "outside"
    outside.write_text("theirs")
    (image / UNIT).parent.mkdir(parents=True)
    (image / f"{UNIT}.new").symlink_to(outside)
    assert install(image)[0] == 0
    assert outside.read_text() == "theirs"
    assert f"ExecStart={DAEMON} -n --clear-stale" in settings(image)


@pytest.mark.parametrize("kind", ["link", "FIFO"])
def test_what_is_in_the_place_of_the_unit_is_not_read(
    tmp_path: Path, image: Path, kind: str
) -> None:
    """I5: a link made a file of the machine count as the image's, a FIFO was waited for."""
    outside = tmp_path / "outside"
    (image / UNIT).parent.mkdir(parents=True)
    if kind == "link":
        install(image)
        (image / UNIT).rename(outside)
        (image / UNIT).symlink_to(outside)
    else:
        os.mkfifo(image / UNIT)
    before = outside.read_text() if kind == "link" else ""
    assert "Replace files of others" in install(image)[2]
    assert install(image, "--yes")[0] == 0
    assert (image / UNIT).is_file()
    assert not (image / UNIT).is_symlink()
    assert before == (outside.read_text() if kind == "link" else "")


def tmpfiles(root: Path) -> list[list[str]]:
    """What systemd-tmpfiles is asked to make, for each line its fields."""
    return [line.split() for line in settings(root, "etc/tmpfiles.d/hv-kvp-daemon.conf")]


@pytest.mark.parametrize("pool_dir", ["/var/opt/hyperv", "/srv/kvp", "/var/lib/other/kvp"])
def test_the_link_to_the_pools_stays_inside_a_mounted_image(image: Path, pool_dir: str) -> None:
    """U2: rm in $IMG/var/lib/hyperv emptied the pools of the machine that built the image."""
    install(image, "--pool-dir", pool_dir)
    made, link = tmpfiles(image)
    assert made[:2] == ["d", pool_dir]
    assert link[:2] == ["L", "/var/lib/hyperv"]
    (image / pool_dir.lstrip("/")).mkdir(parents=True, exist_ok=True)
    (image / "var/lib").mkdir(parents=True, exist_ok=True)
    (image / "var/lib/hyperv").symlink_to(link[-1])
    assert os.path.realpath(image / "var/lib/hyperv") == f"{image}{pool_dir}"


def test_an_absolute_link_of_an_earlier_installation_becomes_relative(image: Path) -> None:
    link = image / "var/lib/hyperv"
    link.parent.mkdir(parents=True)
    link.symlink_to("/var/opt/hyperv")
    install(image)
    assert os.readlink(link) == "../opt/hyperv"
    link.unlink()
    link.symlink_to("/srv/theirs")
    install(image)
    assert os.readlink(link) == "/srv/theirs"


def test_nothing_is_written_or_removed_through_an_absolute_link_of_an_image(
    tmp_path: Path, image: Path
) -> None:
    """U2, of the same kind: such a link names a place of the image, not of this machine."""
    outside = tmp_path / "outside"
    (outside / "systemd/system").mkdir(parents=True)
    (image / "etc").mkdir(parents=True)
    (image / "etc/systemd").symlink_to(outside / "systemd")
    assert install(image)[0] == 0
    assert tree(outside) == set()
    assert (image / str(outside).lstrip("/") / "systemd/system/hv-kvp.service").exists()
    assert call("uninstall-service", f"--root={image}", "--yes").status == 0
    assert tree(image) == {"etc/systemd"}


def test_a_second_installation_keeps_what_was_chosen_and_says_so(image: Path) -> None:
    """I1: an upgrade went back to netlink, and to pools without the keys."""
    install(image, "--transport", "chardev", "--pool-dir", "/srv/kvp dir")
    first = {path: (image / path).lstat().st_mtime_ns for path in tree(image)}
    status, out, err = install(image)
    assert (status, out) == (0, f"hv-kvp.service is installed in {image}\n")
    assert "as installed before: --transport chardev --pool-dir /srv/kvp dir\n" in err
    assert {path: (image / path).lstat().st_mtime_ns for path in tree(image)} == first


def test_each_choice_can_be_changed_and_taken_back(image: Path) -> None:
    install(image, "--transport", "chardev", "--pool-dir", "/srv/kvp")
    install(image, "--transport", "auto")
    assert f"ExecStart={DAEMON} -n --clear-stale --pool-dir /srv/kvp" in settings(image)
    assert not (image / DROP_IN).exists()
    install(image, "--pool-dir", "auto")
    assert f"ExecStart={DAEMON} -n --clear-stale" in settings(image)


def test_options_that_an_administrator_has_added_stay(image: Path) -> None:
    """I1: of the same kind."""
    install(image)
    unit = image / UNIT
    added = f"ExecStart={DAEMON} -n --exclude-interface docker* --exclude-interface=veth*"
    text = unit.read_text()
    unit.write_text(text.replace(f"ExecStart={DAEMON} -n --clear-stale", added))
    err = install(image, "--transport", "netlink")[2]
    assert "as installed before: --exclude-interface docker* --exclude-interface veth*\n" in err
    words = "-n --transport netlink --exclude-interface docker* --exclude-interface veth*"
    assert f"ExecStart={DAEMON} {words}" in settings(image)


def test_an_upgraded_daemon_finds_the_keys_that_were_there_before(
    tmp_path: Path, image: Path
) -> None:
    """I1: with the options of the unit before and after."""
    install(image, f"--pool-dir={tmp_path}/kvp pools")
    with RunningDaemon(tmp_path, *options_of(image)) as daemon:
        daemon.connect().ask(KVP_OP_SET, 1, "key", "value")
        assert daemon.stop() == 0
    install(image)
    with RunningDaemon(tmp_path, *options_of(image)) as daemon:
        assert daemon.connect().ask(KVP_OP_GET, 1, "key").value == b"value"


def options_of(image: Path) -> list[str]:
    """The options that systemd gives to the daemon, but for -n, which the test gives."""
    command = find((image / UNIT).read_text())
    assert command
    assert command.program == DAEMON
    return words(command.options)[1:]


def test_the_unit_of_an_image_starts_a_program_of_the_image(tmp_path: Path) -> None:
    """I2: it named one of the machine that builds the image."""
    image = tmp_path / "an image"
    image.mkdir()
    status, _, err = install(image)
    assert status == 3
    assert f"{image} has no program {DAEMON}" in err
    assert f"chroot '{image}' PATH/TO/hv-kvp install-service" in err
    assert tree(image) == set()
    program = image / DAEMON.lstrip("/")
    program.parent.mkdir(parents=True)
    program.write_text("#!/opt/gone/python3 -I\n")
    program.chmod(0o755)
    assert f"{image} has no program /opt/gone/python3" in install(image)[2]


def test_a_program_inside_the_image_is_named_as_the_image_names_it(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = image / "opt/hv-kvp/bin"
    inside.mkdir(parents=True)
    for name in ("hv-kvp", "hv_kvp_daemon"):
        (inside / name).write_text(f"#!{INTERPRETER}\n")
        (inside / name).chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(inside / "hv-kvp")])
    install(image)
    assert "ExecStart=/opt/hv-kvp/bin/hv_kvp_daemon -n --clear-stale" in settings(image)
    assert os.readlink(image / "usr/local/bin/hv-kvp") == "/opt/hv-kvp/bin/hv-kvp"


def test_a_command_without_its_daemon_says_what_to_do(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{tmp_path}/hv-kvp"])
    monkeypatch.setattr("sysconfig.get_path", lambda name: f"{tmp_path}/{name}")
    assert "install the package first" in install(image)[2]


def test_shells_find_the_programs_until_they_are_removed(image: Path) -> None:
    """I3: no command that a message advises could be run."""
    install(image)
    folder = image / "usr/local/bin"
    names = {"hv-kvp", "hv-kvp-daemon", "hv_kvp_daemon"}
    assert {*os.listdir(folder)} == names
    assert {os.readlink(folder / name) for name in names} == {
        f"{os.path.dirname(DAEMON)}/{name}" for name in names
    }
    call("uninstall-service", f"--root={image}", "--yes")
    assert os.listdir(folder) == []


def test_a_program_of_others_on_the_path_stays(image: Path) -> None:
    folder = image / "usr/local/bin"
    folder.mkdir(parents=True)
    (folder / "hv-kvp").write_text("theirs")
    (folder / "hv_kvp_daemon").symlink_to("/nowhere")
    assert "/usr/local/bin/hv-kvp stays: it is another program than" in install(image)[2]
    assert (folder / "hv-kvp").read_text() == "theirs"
    assert os.readlink(folder / "hv_kvp_daemon") == DAEMON
    call("uninstall-service", f"--root={image}", "--yes")
    assert os.listdir(folder) == ["hv-kvp"]


def test_links_follow_the_installation(image: Path) -> None:
    """Of an installation that was made again in another place, or by a package."""
    install(image)
    unit = image / UNIT
    unit.write_text(unit.read_text().replace(DAEMON, "/opt/old/bin/hv_kvp_daemon"))
    link = image / "usr/local/bin/hv-kvp"
    link.unlink()
    link.symlink_to("/opt/old/bin/hv-kvp")
    (image / "opt/old/bin").mkdir(parents=True)
    (image / "opt/old/bin/hv-kvp").write_text("")
    assert " stays" not in install(image)[2]
    assert os.readlink(link) == f"{os.path.dirname(DAEMON)}/hv-kvp"


STARTS_NOT = (
    "KVP daemon does not start while it is a link:"
    " rm /var/lib/hyperv && mv /var/opt/hyperv /var/lib/hyperv\n"
)


@pytest.mark.parametrize(
    ("target", "there", "said"),
    [
        ("../opt/hyperv", True, f"where other programs find the pairs; Debian's {STARTS_NOT}"),
        ("../opt/hyperv", False, ""),
        ("/srv/theirs", False, "which does not exist, and not that of this installation"),
    ],
)
def test_the_link_to_the_pools_is_removed_or_said_to_stay(
    image: Path, target: str, there: bool, said: str
) -> None:
    """I4, I12: Debian's daemon ends at a link that leads nowhere, and starts at none."""
    install(image)
    link = image / "var/lib/hyperv"
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    if there:
        (image / "var/opt/hyperv").mkdir(parents=True)
    err = call("uninstall-service", f"--root={image}", "--yes").err
    assert link.is_symlink() == bool(said)
    assert (f"/var/lib/hyperv stays, a link to {target}, {said}" in err) == bool(said)


def test_the_link_to_the_pools_follows_a_directory_that_is_named(image: Path) -> None:
    install(image)
    link = image / "var/lib/hyperv"
    link.parent.mkdir(parents=True)
    link.symlink_to("../opt/hyperv")
    install(image, "--pool-dir", "/srv/kvp")
    assert os.readlink(link) == "../../srv/kvp"


def test_uninstall_says_how_to_have_the_distributions_daemon_back(image: Path) -> None:
    """I4: no KVP daemon was left, and no message said so."""
    theirs = image / "usr/lib/systemd/system/hv-kvp-daemon.service"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Service]\nExecStart=/usr/sbin/hv_kvp_daemon -n\n")
    install(image, "--yes")
    assert (image / UNIT).exists()
    out = call("uninstall-service", f"--root={image}", "--yes").out
    assert "no KVP daemon runs now" in out
    assert out.endswith("systemctl start hv-kvp-daemon.service\n")


def test_the_last_line_says_whether_the_daemon_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I4: nothing was said.  tests/driver shows it on a booted machine."""
    require_own_process_image()
    root = InstallRoot(argparse.Namespace(root="/", dry_run=False, yes=True))

    def outcome() -> str:
        return _outcome(root, None, dry_run=False)

    root.is_live = False
    assert "no systemd runs here, so nothing was started" in outcome()
    root.is_live = True
    monkeypatch.setattr(module, "DEVICE", f"{tmp_path}/device")
    assert "udev starts it when there is a" in outcome()
    (tmp_path / "device").touch()
    page = loopback_path(f"{tmp_path}/host")
    monkeypatch.setattr(module, "find", lambda: find_status(page))
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    assert "no daemon runs" in outcome()
    with RunningDaemon(tmp_path) as daemon:
        wait_for("its page", lambda: find_status(page))
        assert "is installed, but does not serve:" in outcome()
        daemon.connect()
        monkeypatch.setattr(module, "_PATIENCE", DEADLINE)
        assert f"serves (pid {daemon.pid}): " in outcome()
        assert outcome().endswith(f"pools in {daemon.pool_dir}")
    Path(page).write_text("damaged")
    assert "in an unknown state" in outcome()


@pytest.fixture
def package(image: Path) -> Path:
    """An image with a distribution's package of this daemon."""
    program = image / "usr/bin/hv_kvp_daemon"
    program.parent.mkdir(parents=True)
    program.write_text("#!/usr/bin/python3\nfrom hv_kvp_daemon.service.main import main\n")
    unit = image / "usr/lib/systemd/system/hv-kvp.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/usr/bin/hv_kvp_daemon -n --clear-stale\n")
    (unit.parent / "hypervkvpd.service").symlink_to("hv-kvp.service")
    return image


def test_a_packages_unit_is_left_as_it_is(package: Path) -> None:
    """I7, I11: a second unit was written over it."""
    before = tree(package)
    status, out, _ = install(package)
    assert status == 0
    assert (
        "nothing to do: /usr/lib/systemd/system/hv-kvp.service, a package's unit, is installed"
        in out
    )
    assert tree(package) == before


def test_a_packages_unit_that_is_masked_is_named_before_anything_is_done(package: Path) -> None:
    """I22: its options were written, and then systemd refused to restart it."""
    mask = package / UNIT
    mask.parent.mkdir(parents=True)
    mask.symlink_to("/dev/null")
    before = tree(package)
    for given in ((), ("--transport", "chardev")):
        status, _, err = install(package, *given)
        assert status == 3
        assert f"hv-kvp.service is masked by {mask}: systemctl unmask hv-kvp.service" in err
        assert tree(package) == before


@pytest.mark.parametrize("manager", ["apt", "dnf", "zypper"])
def test_a_package_is_removed_by_the_manager_that_installed_it(
    package: Path, manager: str
) -> None:
    """I15: apt was named on every distribution."""
    (package / "usr/bin" / manager).touch()
    done = call("uninstall-service", f"--root={package}", "--yes")
    assert done.status == 1
    assert f"hv-kvp.service belongs to a package: {manager} remove hv-kvp-daemon" in done.err


def test_a_unit_that_the_package_keeps_from_starting_is_left_as_it_is(package: Path) -> None:
    theirs = package / "usr/lib/systemd/system/hv-kvp-daemon.service"
    theirs.write_text("[Service]\nExecStart=/usr/sbin/hv_kvp_daemon -n\n")
    assert install(package)[0] == 2  # a package without the drop-in
    replacing = theirs.parent / f"{theirs.name}.d/hv-kvp.conf"
    replacing.parent.mkdir()
    replacing.touch()
    before = tree(package)
    assert "nothing to do: " in install(package)[1]
    assert tree(package) == before


def test_what_is_chosen_for_a_packages_unit_is_a_drop_in(package: Path) -> None:
    before = tree(package)
    words = ("--transport", "chardev", "--pool-dir", "/srv/kvp")
    for given in (words, ()):  # and is kept
        assert install(package, *given)[0] == 0
        assert tree(package) - before == {DROP_IN, OPTIONS, "etc/tmpfiles.d/hv-kvp-daemon.conf"}
        command = f"ExecStart=/usr/bin/hv_kvp_daemon -n --clear-stale {' '.join(words)}"
        assert settings(package, OPTIONS) == [
            *("[Unit]", "RequiresMountsFor=/srv/kvp"),
            *("[Service]", "ExecStart=", command, "ReadWritePaths=-/srv/kvp"),
        ]
        assert command in settings(package, DROP_IN)
    install(package, "--transport", "auto", "--pool-dir", "auto")
    assert tree(package) == before
    install(package, *words)
    out = call("uninstall-service", f"--root={package}", "--yes").out
    assert "the package's own unit is used again" in out
    assert tree(package) == before


def test_a_package_replaces_the_unit_of_an_installation_before(package: Path) -> None:
    """I7: the options that were chosen for it go over to the package's."""
    unit = package / "usr/lib/systemd/system/hv-kvp.service"
    unit.rename(package / "later")
    install(package, "--transport", "netlink")
    (package / "later").rename(unit)
    before = tree(package)
    install(package)
    removed = before - tree(package)
    assert UNIT in removed
    assert {f"{SYSTEM}/hypervkvpd.service", "usr/local/bin/hv-kvp"} <= removed
    assert not {path for path in tree(package) if path.startswith("usr/local")}
    assert "ExecStart=/usr/bin/hv_kvp_daemon -n --clear-stale --transport netlink" in settings(
        package, OPTIONS
    )


def test_all_that_a_program_of_this_machine_is_started_from_is_looked_at() -> None:
    root = InstallRoot(argparse.Namespace(root="/", dry_run=False, yes=True))
    places = {*_places(root, DAEMON)}
    interpreter = os.path.realpath(sys.executable)
    files = (DAEMON, sys.executable, interpreter, os.__file__, module.__file__)
    assert {*files, *map(os.path.dirname, files)} <= places
    assert _places(root, "/usr/bin/env")[:1] == ["/usr"]


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's files are always writable")
@pytest.mark.parametrize("writable", ["a directory above", "the program"])
def test_a_program_that_others_may_write_is_named(image: Path, writable: str) -> None:
    """I8: a user who can write what root's unit starts can become root."""
    program = image / DAEMON.lstrip("/")
    path = program if writable == "the program" else program.parent
    assert "may write" not in install(image)[2]
    path.chmod(0o777)
    inside = f"/{path.relative_to(image)}"
    assert f"root's service starts what others may write: {inside};" in install(image)[2]
    path.chmod(0o755)
    os.chown(path, 65534, 65534)
    assert f"root's service starts what others may write: {inside};" in install(image)[2]
    if path.is_dir():
        path.chmod(0o700)
        status, _, err = install(image)
        assert status == 3
        assert f"{inside} is private, so the service may not enter it" in err
    path.chmod(0o755)
    os.chown(path, 0, 0)
