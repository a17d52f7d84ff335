"""Who is calling: tokens, the callers they stand for, and the logins that were ended."""
