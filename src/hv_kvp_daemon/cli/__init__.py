"""The command line tool ``hv-kvp``."""
