"""Transports of the driver's messages, and the links that open and register them."""
