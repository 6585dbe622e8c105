"""How a Redis server is spoken to, and where in it things are."""
