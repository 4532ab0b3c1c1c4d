"""The commands that show what the daemon tells the host about this guest."""
