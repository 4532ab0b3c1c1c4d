"""The pool files that the daemon shares with other programs of the guest."""
