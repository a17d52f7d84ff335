"""`python -m services bots`: players that load a platform and check what it promises. Uses the SDK and nothing else."""

from services.bots.command import run

__all__ = ["run"]
