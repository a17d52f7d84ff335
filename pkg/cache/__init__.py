"""Redis: the client, with deadlines."""
