"""Logins: as many as one core can hash."""

from __future__ import annotations

from bench.figures import Figure, least
from bench.generator import Call, Job
from bench.platform import SERVER
from bench.scenario import Context, Group, Run, Scenario
from bench.stage import PASSWORD
from oofgg.v1 import auth_pb2

# More than the threads that hash, fewer than may wait for one.
_IN_FLIGHT = 16
_ACCOUNTS = 16


async def logins(context: Context) -> Run:
    """Players log in to their game with a password."""
    stage = context.platform
    players = await stage.players(_ACCOUNTS)
    calls = [
        Call(auth_pb2.LoginRequest(username=player.name, password=PASSWORD, game_id=stage.game_id).SerializeToString())
        for player in players
    ]
    job = Job(
        "unary",
        stage.endpoints.service,
        2,
        method="/oofgg.v1.AuthService/Login",
        in_flight=_IN_FLIGHT,
        calls=calls,
    )
    mark, used = await context.load(job, stage.pids)
    return Run({"login": mark.done / used.core_seconds(*SERVER)}, used, "service", mark.failed, mark.failure)


GROUP = Group(
    "login",
    "Logins",
    (Scenario("login", (Figure("login", "Login (argon2id, OWASP)", "logins/s/core", least(30)),), logins),),
)
