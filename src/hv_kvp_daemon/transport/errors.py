"""How a transport fails."""


class TransportError(Exception):
    """The transport cannot be opened here; the text says what is missing."""


class TransportLostError(Exception):
    """The other side went away or refused a message: close, open, register again."""
