"""A WebSocket server: the bundled one, or the user's."""
