"""What follows from results: leaderboards and match history."""
