"""`status`, `doctor`, `install-service` and `uninstall-service`."""
