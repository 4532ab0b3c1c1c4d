"""Where the driver's messages come from and the replies go."""
