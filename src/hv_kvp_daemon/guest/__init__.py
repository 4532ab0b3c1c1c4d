"""Facts about this guest that the host is told."""
