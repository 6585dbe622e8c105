"""What a dump asks of the server."""
