"""Data folders of servers that run without a container: made, copied, kept, each with a password of its own."""
