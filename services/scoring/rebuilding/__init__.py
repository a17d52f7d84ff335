"""History, standings and ratings compared with what they follow from, and made again from it."""
