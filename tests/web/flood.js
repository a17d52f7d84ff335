// Sends and receives more than fits unacknowledged, with the built package; told by test_client.py.
//
//     node flood.js <index.js of the package> <http://host:port> <game id> <username> <password> <session id> <count> <bytes>
const [library, platform, game, username, password, sessionId, count, bytes] = process.argv.slice(2);
const { Client, DeliveryClass } = await import(library);

const client = new Client(platform, { game });
await client.login(username, password);
const session = await client.watch(sessionId);
await session.started();

async function send() {
  for (let number = 0; number < Number(count); number += 1) {
    await session.send(new Uint8Array(Number(bytes)).fill(number % 251), { kind: "page" });
    await session.send({ number }, { delivery: DeliveryClass.LATEST, key: "progress" });
  }
  await session.flush();
}

const sending = send();
let received = 0;
let latest = -1;
for await (const { seat, body } of session) {
  if (body.case !== "message" || seat === session.seat) continue;
  const { key, payload } = body.value;
  if (key === "progress") {
    const { number } = JSON.parse(new TextDecoder().decode(payload));
    if (number < latest) throw new Error(`${number} came after ${latest}`);
    latest = number;
    continue;
  }
  if (payload.length !== Number(bytes) || payload.some((byte) => byte !== received % 251)) {
    throw new Error(`message ${received} is not what was sent`);
  }
  received += 1;
  if (received === Number(count)) {
    await sending;
    console.log(`received ${received}`);
    await session.leave();
  }
}
