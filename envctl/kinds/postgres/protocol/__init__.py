"""Speaking with a server: its protocol, the login, a client for a few statements."""
