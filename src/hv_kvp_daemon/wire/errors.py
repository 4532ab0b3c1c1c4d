"""The one error that the codecs raise."""


class WireError(ValueError):
    """Bytes from a peer that do not have the form its protocol gives them."""
