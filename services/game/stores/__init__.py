"""What `game` keeps in Redis."""
