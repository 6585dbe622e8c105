"""Knowing that a service is usable."""
