// Finds a match with the built package, and plays it: in Node or, bundled, in a page. Told by test_tickets.py.
//
//     node tickets.js <http://host:port> <game id> <username> <password> <what to do>
//
// A page gets the same as ?platform=…&game=…&username=…&password=…&act=…, and shows in its body what Node prints.
import { Client, json, OofggError, TicketReason, TicketState } from "@oofgg/web";

const inPage = typeof document !== "undefined";
const query = inPage ? new URLSearchParams(location.search) : undefined;
const [platform, game, username, password, act] = query
  ? ["platform", "game", "username", "password", "act"].map((name) => query.get(name))
  : process.argv.slice(2);
const say = (line) => (inPage ? document.body.append(`${line}\n`) : console.log(line));

const acts = {
  /** Waits, accepts, plays. */
  async play(client) {
    const ticket = await client.enqueue(["ranked"], {
      attributes: { mmr: 1200, mode: "blitz", maps: ["dust"] },
      roles: ["tank"],
      latencies: { eu: 20 },
    });
    for await (const { state } of ticket) {
      say(TicketState[state]);
      if (state === TicketState.PROPOSED) await ticket.accept();
    }
    const match = await ticket.matched();
    const session = await client.watch(match);
    await session.send({ teams: match.players.map(({ team }) => team).sort() });
    for await (const { seat, body } of session) {
      if (body.case !== "message" || seat === session.seat) continue;
      say(JSON.stringify(json(body.value)));
      break;
    }
    await session.flush();
    await session.close();
  },

  /** Another device, a cancelled ticket, and what cannot be entered. */
  async refuse(client) {
    const failing = async (work) => {
      try {
        await work();
        say("nothing failed");
      } catch (error) {
        say(error instanceof OofggError ? error.reason : error.name);
      }
    };
    await failing(() => client.enqueue("nowhere"));
    await failing(() => client.enqueue("ranked", { attributes: { ready: true } }));
    say(String(await client.ticket()));
    const ticket = await client.enqueue("ranked", { requestId: "mine" });
    await failing(() => client.enqueue("ranked"));
    const again = await client.ticket();
    say(again.ticketId === ticket.ticketId);
    await failing(() => ticket.matched(100));
    const { state, reason } = await again.cancel();
    say(`${TicketState[state]} ${TicketReason[reason]}`);
    await failing(() => ticket.matched());
    await again.close();
    const closed = await client.enqueue("ranked");
    await closed.close();
    say(TicketState[closed.state]);
    const left = await client.ticket();
    say(left && `${left.ticketId === closed.ticketId} ${TicketState[left.state]}`);
  },

  /** Leaves a party's ticket alone, and enters another queue. */
  async leave(client) {
    const ticket = await client.ticket();
    const { state, reason } = await ticket.leave();
    say(`${TicketState[state]} ${TicketReason[reason]}`);
    const elsewhere = await client.enqueue("ranked");
    say(TicketState[elsewhere.state]);
    await elsewhere.close();
  },

  /** Waits for as long as it takes. */
  async wait(client) {
    const ticket = await client.enqueue("duel");
    say(TicketState[ticket.state]);
    const { sessionId } = await ticket.matched();
    say(sessionId);
  },
};

try {
  const client = new Client(platform, { game });
  await client.login(username, password);
  await acts[act](client);
  say("done");
} catch (error) {
  say(`failed: ${error} ${error?.stack}`);
}
if (!inPage) process.exit();
