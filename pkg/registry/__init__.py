"""Which processes there are, what they serve and where, how they are and what they carry: in Redis, for all."""
