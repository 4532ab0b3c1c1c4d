# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The errors of a simulated host; each is a `HostError`."""


class HostError(Exception):
    """The host cannot go on; the text says why."""


class NoDaemonError(HostError):
    """No daemon listens, it serves another host, or it has closed the connection."""


class BadReplyError(HostError):
    """The daemon sent a message that the driver or a host could not use."""


class EnumerationError(HostError):
    """An enumeration ended with another status than HV_S_CONT."""


class ProcessError(HostError):
    """The daemon's process did not start, or did not end when it should."""
