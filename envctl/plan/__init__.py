"""Deciding, as pure functions over values."""
