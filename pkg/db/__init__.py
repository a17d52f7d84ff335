"""PostgreSQL: pools, migrations, replies that are kept for repeats."""
