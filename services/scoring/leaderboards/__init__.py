"""Leaderboards that a game's developer defines: see docs/architecture/leaderboards.md."""
