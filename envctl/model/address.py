"""Addresses with a meaning of their own."""

LOOPBACK = "127.0.0.1"
"""Where ports are published unless the user chooses otherwise; never `localhost`, which may mean IPv6."""
