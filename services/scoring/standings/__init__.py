"""The sums of each player's results, and the two leaderboards that every game has by them."""
