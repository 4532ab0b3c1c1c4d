"""The base of the errors that the codecs raise."""


class WireError(ValueError):
    """Bytes from a peer that do not follow its protocol."""
