"""Bytes to values and back: pure codecs that know no socket, file or clock."""
