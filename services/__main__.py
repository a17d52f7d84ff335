"""The command line: `python -m services COMMAND`.

Each command is imported only when it is asked for: the supervisor of `up` must stay small.
"""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS = {
    "serve": "run services in this process: serve auth game … | all [--migrate]",
    "migrate": "apply database migrations and exit: migrate auth game … | all",
    "admin": "administer a running platform: admin make-developer USERNAME",
    "dead-letters": "records that could not be applied: dead-letters list | replay | discard",
    "topics": "who may read the Kafka topic of a game: topics grant --game ID --principal User:NAME",
    "projections": "history, standings and ratings: projections verify | rebuild NAME… [--game ID]",
    "boards": "leaderboards: boards verify | rebuild [--game ID] [--board NAME]",
    "queue": "try a matchmaking queue out: queue simulate QUEUE TICKETS | population",
    "health": "whether the services of this container are ready, for health checks",
    "backup": "save the data, while people play: backup FILE",
    "restore": "go back to a backup, while nothing runs: restore FILE",
    "up": "start the embedded platform and keep it running",
    "bots": "load a platform with players and check what it promises [--target HOST:PORT] [--help]",
    "arena": "play a round of the arena on the embedded platform, in this terminal",
    "demo": "play a match on the embedded platform and show the result [--keep]",
}


# They need what is beside the services in a checkout: the SDK's examples, and the programs of the embedded platform.
IN_A_CHECKOUT = ("demo", "arena", "up")


def main(arguments: list[str]) -> int:
    """Runs a command; returns its exit code."""
    if not arguments or arguments[0] not in COMMANDS:
        print("usage: python -m services COMMAND\n", file=sys.stderr)
        for name, purpose in COMMANDS.items():
            print(f"  {name:<12} {purpose}", file=sys.stderr)
        return 2
    try:
        module = import_module(f"services.{arguments[0].replace('-', '_')}")
        code: int = module.run(arguments[1:])
    except ModuleNotFoundError as error:
        if arguments[0] not in IN_A_CHECKOUT:
            raise
        print(
            f"`{arguments[0]}` runs from a checkout of oofgg, where `make` installs what it needs (`make help`). "
            f"The image of the services has no {error.name}.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:  # before the command looks after signals itself
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
