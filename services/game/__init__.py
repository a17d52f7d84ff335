"""Live game sessions: seats, ordered streams, results."""
