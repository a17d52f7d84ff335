"""Arena: a real-time game for the terminal, played over oofgg by people and bots. `python -m arena --help`."""
