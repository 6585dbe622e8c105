"""Everything else that touches this machine."""
