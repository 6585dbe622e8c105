"""What happens to the data of an environment: prepared, seeded, reset, saved, lent."""
