"""Run by an interpreter that has the SDK's wheel and nothing of this repository: `play_a_match.py TARGET GAME_ID`."""

import asyncio
import os
import sys

import google.protobuf
import grpc

import oofgg


async def main(target: str, game_id: str) -> None:
    async with oofgg.Client(target, game=game_id) as ada, oofgg.Client(target, game=game_id) as bob:
        for client, name in ((ada, "ada"), (bob, "bob")):
            unique = f"{name}-{os.urandom(4).hex()}"
            await client.register(unique, f"{unique}@example.org", "correct horse")
        session = await ada.sessions.create(min_seats=2, max_seats=2)
        async with ada.play(session) as left, bob.play(session) as right:
            await left.send({"move": "e4"})
            async for event in right:
                if isinstance(event, oofgg.Message):
                    break
            places = {left.seat: 1, right.seat: 2}
            await asyncio.gather(left.finish(places), right.finish(places))
    print("played with", grpc.__version__, google.protobuf.__version__)


asyncio.run(main(*sys.argv[1:]))
