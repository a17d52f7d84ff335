"""How a process lives: what it offers its services, how it starts, reports its health, drains and ends."""
