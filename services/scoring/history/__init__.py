"""Match history: read, followed, exported."""
