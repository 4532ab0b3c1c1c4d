"""The commands about the daemon as a service: its status, diagnosis and installation."""
