"""The resident process: one poll loop around transport, dispatch and pools."""
