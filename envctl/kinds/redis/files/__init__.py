"""Seeds in files, read."""
