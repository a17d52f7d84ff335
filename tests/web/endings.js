// A guest lists rooms, reads the clock, is told of its kick and of its replacement; driven by test_endings.py.
//
//     node endings.js <index.js of the package> <http://host:port> <game id> <scene>
const [library, platform, game, scene] = process.argv.slice(2);
const { Client, DeliveryClass, OofggError, SessionState, text } = await import(library);

const scenes = {
  async rooms() {
    const client = await guest();
    const { sessionId } = await client.createSession({ label: "room", minSeats: 2, maxSeats: 3 });
    await client.createSession({ label: "other" });
    await client.join(sessionId);
    const rooms = [];
    for await (const room of client.listSessions({ label: "room", state: SessionState.WAITING })) rooms.push(room);
    return rooms.map((room) => [room.sessionId === sessionId, room.seats.length, room.maxSeats]);
  },

  async clock() {
    const client = await guest();
    const session = await client.watch((await client.createSession({ minSeats: 1 })).sessionId);
    const before = session.clockOffset;
    await session.send("x");
    const until = performance.now() + 10_000;
    while (session.clockOffset === undefined && performance.now() < until) await new Promise((done) => setTimeout(done, 10));
    return [before === undefined, Math.abs(session.clockOffset) < 1_000, session.throttled];
  },

  async kicked() {
    const [host, other] = [await guest(), await guest()];
    const { sessionId } = await host.createSession();
    const [mine, theirs] = [await host.watch(sessionId), await other.watch(sessionId)];
    await mine.kick(theirs.seat, { reason: "good night" });
    const seen = [];
    for await (const { body } of theirs) if (body.case === "presence") seen.push(body.value.reason);
    const again = await other.join(sessionId).catch((error) => error instanceof OofggError && error.reason);
    return [seen.at(-1), again, await theirs.leave(), await theirs.send("x")];
  },

  async replaced() {
    const device = crypto.randomUUID();
    const [old, fresh] = [await guest(device), await guest(device)];
    const { sessionId } = await old.createSession({ minSeats: 1 });
    const first = await old.watch(sessionId);
    const second = await fresh.watch(sessionId);
    let left, reason;
    try {
      for await (const _ of first);
    } catch (error) {
      reason = error.reason;
    } finally {
      left = await first.leave();
    }
    await second.send("still here");
    let heard;
    for await (const { body } of second) {
      if (body.case === "message") {
        heard = text(body.value);
        break;
      }
    }
    return [reason, left, heard, await second.leave(), await second.leave()];
  },

  async departed() {
    const [winner, loser] = [await guest(), await guest()];
    const { sessionId } = await winner.createSession();
    const [first, second] = [await winner.watch(sessionId), await loser.watch(sessionId)];
    await first.started();
    await first.leave();
    for await (const { body } of second) if (body.case === "presence" && second.info.seats.length === 1) break;
    const places = Object.fromEntries(second.roster.map(({ seat }) => [seat, seat === first.seat ? 1 : 2]));
    const outcome = await second.finish(places);
    return [second.roster.length, outcome.result.seats.map(({ placement }) => placement)];
  },

  async throttled() {
    const client = await guest();
    const session = await client.watch((await client.createSession({ minSeats: 1 })).sessionId);
    const until = performance.now() + 10_000;
    const filler = "x".repeat(60_000);
    for (let key = 0; !session.throttled && performance.now() < until; key = (key + 1) % 4) {
      await session.send(filler, { delivery: DeliveryClass.LATEST, key: `${key}` });
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return [session.throttled];
  },
};

async function guest(device = crypto.randomUUID()) {
  const client = new Client(platform, { game });
  await client.loginGuest(device);
  return client;
}

console.log(JSON.stringify(await scenes[scene]()));
process.exit(0);
