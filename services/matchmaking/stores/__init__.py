"""Where queues, tickets and matches are kept."""
