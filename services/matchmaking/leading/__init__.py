"""Who works a queue, and how its matches are made."""
