"""Games and their settings."""
