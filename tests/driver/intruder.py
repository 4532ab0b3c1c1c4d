# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Tries what an attacker who has taken over the daemon could try: ``intruder.py RESULT``.

It runs in place of the daemon, as root in its sandbox (``scenarios/service.py``), and
writes to the file RESULT which of the ways out were open, as a JSON object of error
messages; "" is an open way.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import socket
import sys
from collections.abc import Callable

SECRETS = ("/etc/shadow", "/etc/gshadow", "/etc/ssh/ssh_host_key", "/etc/ssl/private/key")
# Where udev, systemd and the device manager take what root then executes.
WRITABLE = ("/run", "/run/udev/rules.d", "/run/systemd/system", "/dev", "/etc", "/usr/bin", "/")
# The first starts any program with all capabilities, and so do those of D-Bus, by way of it.
SOCKETS = (
    *("/run/systemd/private", "/run/udev/control"),
    *("/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket"),
)
TERMINALS = ("/dev/pts/0",)
# The second number is arm64's; io_uring has one number everywhere.
CALLS = {"add_key": (248, 217), "io_setup": (206, 0), "io_uring_setup": (425, 425)}


def read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def write(directory: str) -> None:
    path = f"{directory}/intruder"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    os.unlink(path)


def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
        try:
            link.connect(path)
        except OSError as error:
            # EPROTOTYPE: access was granted, and only the type of the socket is wrong.
            if "type for socket" not in str(error):
                raise


def use(terminal: str) -> None:
    os.close(os.open(terminal, os.O_RDWR | os.O_NOCTTY))


def call(name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    number = CALLS[name][platform.machine() == "aarch64"]
    # NULL pointers: EFAULT or EINVAL, unless the filter has refused the call before.
    if libc.syscall(number, 0, 0, 0, 0, 0) < 0 and ctypes.get_errno() in {1, 38}:
        raise OSError(ctypes.get_errno(), name)


def tried(attempt: Callable[[str], None], argument: str) -> str:
    try:
        attempt(argument)
    except OSError as error:
        return str(error)
    return ""


def main(result: str) -> None:
    attempts = (
        *((read, SECRETS), (write, WRITABLE), (connect, SOCKETS)),
        *((use, TERMINALS), (call, (*CALLS,))),
    )
    outcomes = {
        f"{attempt.__name__} {argument}": tried(attempt, argument)
        for attempt, arguments in attempts
        for argument in arguments
    }
    with open(result, "w", encoding="utf-8") as file:
        json.dump(outcomes, file)


if __name__ == "__main__":
    main(sys.argv[1])
