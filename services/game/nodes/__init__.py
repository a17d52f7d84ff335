"""Which node runs a session, and how it comes to another one."""
