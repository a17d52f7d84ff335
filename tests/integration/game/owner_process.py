"""`game` in a process of its own, to be killed; its settings come from the environment."""

from __future__ import annotations

import sys

from services.serve import run

if __name__ == "__main__":
    sys.exit(run(["game"]))
