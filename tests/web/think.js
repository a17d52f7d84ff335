// Takes no event for longer than the platform waits for a sign of life, then all of them; told by test_client.py.
//
//     node think.js <index.js of the package> <http://host:port> <game id> <username> <password> <session id>
const [library, platform, game, username, password, sessionId] = process.argv.slice(2);
const { Client, text } = await import(library);

const calls = { Send: 0, Watch: 0 };
const realFetch = globalThis.fetch;
globalThis.fetch = (url, init) => {
  const rpc = String(url).split("/").pop();
  if (rpc in calls) calls[rpc] += 1;
  return realFetch(url, init);
};

const client = new Client(platform, { game });
await client.login(username, password);
const session = await client.watch(sessionId);
await session.started();
while (calls.Send < 3) await new Promise((resolve) => setTimeout(resolve, 100)); // one for each heartbeat
for await (const { seat, body } of session) {
  if (body.case !== "message" || seat === session.seat) continue;
  console.log(`${text(body.value)}, ${calls.Watch} stream`);
  await session.leave();
}
