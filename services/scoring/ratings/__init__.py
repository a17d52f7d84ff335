"""Ratings: what results say about skill."""
