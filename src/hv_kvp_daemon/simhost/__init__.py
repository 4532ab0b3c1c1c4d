"""A simulated Hyper-V host that makes requests to a real daemon."""
