"""`auto` and `ip`: what the daemon tells the host about this guest."""
