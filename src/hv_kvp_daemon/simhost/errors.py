"""How a conversation with the daemon fails: always a `HostError`."""


class HostError(Exception):
    """The conversation cannot go on; the text says why."""


class NoDaemonError(HostError):
    """No daemon listens, it serves another host, or it has hung up."""


class BadReplyError(HostError):
    """The daemon sent what the kernel or a host could not use."""


class EnumerationError(HostError):
    """An enumeration that did not end with HV_S_CONT."""


class ProcessError(HostError):
    """The daemon's process did not start, or did not end when told to."""
