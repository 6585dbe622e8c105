"""Databases beside the environment's own: copied, lent, pooled, put back."""
