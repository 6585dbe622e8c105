"""Files of a seed: SQL and CSV, put in whole or not at all, with the line of every error."""
