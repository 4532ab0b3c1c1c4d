"""The errors of transports."""


class TransportError(Exception):
    """The transport cannot be opened here; the text says what is missing."""


class TransportLostError(Exception):
    """The peer has gone or has refused a message: close, open and register again."""
