"""The tables of `auth`, one module per aggregate. Methods that take a connection run in the caller's transaction."""
