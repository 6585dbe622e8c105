"""A small shop: orders are kept in Postgres, counted in Redis, and told over a WebSocket."""
