# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Settings for an installed ``hv_set_ifconfig``, only by ``--ip-backend script``.

The C daemon runs that script with two files: the interface's settings as ``ifcfg-IF``, and
since 2024 also as a keyfile of NetworkManager.  Distributions and administrators have scripts
of their own, of which some overwrite other files, and some return success whatever happens.
So none is ever chosen by itself.  Its exit status is not looked at; the addresses are.

The files are not in /var/lib/hyperv, where the C daemon has them: this daemon can write there,
and the script, which is root without a sandbox, reads ifcfg as shell text.

A script can only set.  After a request that is taken back it is run with the former files; if
there are none, it cannot undo what it did, and the log says so.
"""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.guest.files import below, read_text

from .config import adapter_config
from .detached import run_detached
from .networkmanager_writer import keyfile_lines, section
from .scripts import DIRECTORIES
from .settings import AUTOMATIC, Family, Settings
from .writer import File, Writer, WriterError

SCRIPT: Final = "hv_set_ifconfig"

_DIRECTORY: Final = "/var/lib/hv-kvp-daemon/script"

if TYPE_CHECKING:
    from .keyfile import Sections


class ScriptWriter(Writer):
    """The writer for an installed script."""

    @property
    def path(self) -> str:
        """The first of the two files that are its arguments."""
        return f"{_DIRECTORY}/ifcfg-{self.target.name}"

    @property
    def keyfile(self) -> str:
        """The second one."""
        return f"{_DIRECTORY}/{self.target.name}.nmconnection"

    def is_running(self) -> bool:
        return True

    def files(self, settings: Settings) -> list[File]:
        if not self._script():
            raise WriterError(f"no {SCRIPT} is installed in {', '.join(DIRECTORIES)}")
        whole = Settings(settings.ipv4 or self._present(4), settings.ipv6 or self._present(6))
        header = self.comments()
        return [
            File(self.path, "\n".join([*header, *self._ifcfg(whole)]) + "\n", 0o600),
            File(self.keyfile, "\n".join([*header, *self._keyfile(whole)]) + "\n", 0o600),
        ]

    def activate(self, settings: Settings) -> None:
        del settings
        paths = (below(self.root, path) for path in (self.path, self.keyfile))
        run_detached(self.programs, self._script(), *paths)

    def revert(self) -> None:
        if os.path.exists(below(self.root, self.path)) and self._script():
            self.activate(Settings(None, None))
        else:
            self.programs.report(f"{self.target.name}: {SCRIPT} cannot undo what it has set")

    def _script(self) -> str:
        """Return the path of the script; empty if there is none."""
        paths = [f"{directory}/{SCRIPT}" for directory in DIRECTORIES]
        usable = (path for path in paths if os.access(below(self.root, path), os.X_OK))
        return next(usable, "")

    def _mac(self) -> str:
        return (
            read_text(self.root, f"/sys/class/net/{self.target.name}/address") or ""
        ).strip()

    def _present(self, version: int) -> Family | None:
        """Return what the interface has of a family that does not change."""
        config = adapter_config(
            self._mac().encode(), wait_readable, self.programs.report, self.root
        )
        if config is None:
            return None
        if config.dhcp and version == 4:
            return AUTOMATIC
        addresses = [
            ipaddress.ip_interface(f"{text}/{length}") for _, text, length in config.addresses
        ]
        own = [each for each in addresses if each.version == version and not each.is_link_local]
        values = ([ipaddress.ip_address(text) for text in texts] for texts in (
            config.gateways, config.dns
        ))  # fmt: skip
        gateways, dns = (
            tuple(each for each in found if each.version == version) for found in values
        )
        return Family(False, tuple(own), gateways, dns) if own else None

    def _ifcfg(self, settings: Settings) -> list[str]:
        """Return the lines of the first file, as the C daemon names the variables."""
        mac = self._mac()
        lines = [f"HWADDR={mac}"] if mac else []
        lines.append(f"DEVICE={self.target.name}")
        ipv4, ipv6 = settings.ipv4 or Family(automatic=False), settings.ipv6
        lines.append(f"BOOTPROTO={'dhcp' if ipv4.automatic else 'none'}")
        for number, address in enumerate(ipv4.addresses):
            lines += [f"IPADDR{number}={address.ip}", f"NETMASK{number}={address.netmask}"]
        for number, gateway in enumerate(ipv4.gateways):
            lines.append(f"GATEWAY{number or ''}={gateway}")
        servers = [*ipv4.dns]
        if ipv6 is not None:
            for number, address in enumerate(ipv6.addresses):
                suffix = f"_{number}" if number else ""
                lines.append(f"IPV6ADDR{suffix}={address.ip}")
                lines.append(f"IPV6NETMASK{suffix}={address.network.prefixlen}")
            for number, gateway in enumerate(ipv6.gateways):
                lines.append(f"IPV6_DEFAULTGW{f'_{number}' if number else ''}={gateway}")
            servers += ipv6.dns
        return lines + [f"DNS{number}={server}" for number, server in enumerate(servers, 1)]

    def _keyfile(self, settings: Settings) -> list[str]:
        """Return the lines of the second file."""
        sections: Sections = {"connection": {"interface-name": self.target.name}}
        if self._mac():
            sections["ethernet"] = {"mac-address": self._mac()}
        for version, family in settings.changed().items():
            sections[f"ipv{version}"] = section(version, family, {})
        return keyfile_lines(sections)
