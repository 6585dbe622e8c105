"""The bundled WebSocket server: channels between clients, across replicas through Redis, and from Postgres."""
