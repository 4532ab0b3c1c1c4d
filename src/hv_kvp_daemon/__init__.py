"""Hyper-V key/value pair (KVP) guest daemon for Linux."""

__version__ = "0.1.0"
