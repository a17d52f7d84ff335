"""The rules: queues, tickets, and how they become matches. Plain Python without I/O."""
