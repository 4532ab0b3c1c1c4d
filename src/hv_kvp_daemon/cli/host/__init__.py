"""The command that simulates a Hyper-V host."""
