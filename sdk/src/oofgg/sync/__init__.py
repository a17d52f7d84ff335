"""The SDK for programs that own their thread, such as a game loop: `oofgg.Client` without `async`.

with oofgg.sync.Client("localhost:8080", game="…") as client:
    client.login("ada", "…")
    with client.play(client.sessions.create()) as session:
        while not session.ended:
            for event in session.poll(): ...

Types, events and errors are those of `oofgg`.
"""

from oofgg.sync._client import Client
from oofgg.sync._leaderboards import Leaderboards
from oofgg.sync._own_account import OwnAccount
from oofgg.sync._play import PlaySession
from oofgg.sync._queue_definitions import Queues
from oofgg.sync._resources import Games, History, Ratings, Sessions
from oofgg.sync._tickets import Ticket

__all__ = [
    "Client",
    "Games",
    "History",
    "Leaderboards",
    "OwnAccount",
    "PlaySession",
    "Queues",
    "Ratings",
    "Sessions",
    "Ticket",
]
