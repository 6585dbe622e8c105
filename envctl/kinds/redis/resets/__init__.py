"""How a Redis database gets its baseline, and gets back to it."""
