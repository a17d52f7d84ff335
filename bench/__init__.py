"""Measures the platform: `make bench`. How is told in docs/performance.md."""
