"""A whole database as one stream, and one that takes another's place."""
