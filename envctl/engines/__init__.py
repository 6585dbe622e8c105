"""Doing: one file for each way to run a stack."""
