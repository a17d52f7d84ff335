// A client of its own in another language: native gRPC from Node, on nothing but what is generated from the protos.
//
//     PASSWORD=… node player.js <host:port> <game id> <session id> <username> <email>
//
// Registers, takes a seat, and plays rock-paper-scissors over `Play`, showing each hand in turn. What a client has to do
// beyond calling is marked with a number; docs/how-to/other-languages.md explains each.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { AuthService } from "../../src/gen/oofgg/v1/auth_pb.js";
import { SessionService, SessionState, type Event, type PlayRequestSchema } from "../../src/gen/oofgg/v1/session_pb.js";
import { HANDS, Match, readThrow } from "../rock-paper-scissors/rules.js";
import { Requests } from "./requests.js";

const CALL_MS = 10_000;
const [address = "", gameId = "", sessionId = "", username = "", email = ""] = process.argv.slice(2);
const transport = createGrpcTransport({ baseUrl: `http://${address}` });
const auth = createClient(AuthService, transport);
const sessions = createClient(SessionService, transport);

// (1) A login with the game's id gives a player's token; it travels in a header.
const password = process.env["PASSWORD"] ?? "";
const login = await auth.register({ username, email, password, gameId }, { timeoutMs: CALL_MS });
const headers = new Headers({ authorization: `Bearer ${login.accessToken}` });

// (2) A seat, and the node that runs the session.
const joined = await sessions.join({ sessionId }, { headers, timeoutMs: CALL_MS });
headers.set("x-oofgg-node", joined.placement?.node ?? "");
const mine = joined.seat?.seat ?? 0;
console.log(`seat ${mine}`);

// (3) The first request opens the stream, here with everything that has happened so far.
const requests = new Requests<MessageInitShape<typeof PlayRequestSchema>>();
requests.put({ open: { sessionId, afterSeq: 0n } });
let number = 0n;
let match: Match | undefined;

// (4) A stream has no deadline, but silence has one: two missed heartbeats and some time for the network.
const silence = new AbortController();
let silentMs = CALL_MS;
let timer = setTimeout(() => silence.abort(), silentMs);

for await (const response of sessions.play(requests, { headers, signal: silence.signal })) {
  if (response.opened) silentMs = response.opened.heartbeatMs * 2.5;
  clearTimeout(timer);
  timer = setTimeout(() => silence.abort(), silentMs);
  for (const event of response.events) await react(event);
  // (5) Flushes are acknowledged once their events are dealt with; heartbeats are answered.
  if (response.flush) requests.put({ ackFlush: response.flush });
  const { heartbeat } = response;
  if (heartbeat && !heartbeat.reply) requests.put({ heartbeat: { nonce: heartbeat.nonce, reply: true } });
}
clearTimeout(timer);
requests.end();
console.log("the stream has ended");

async function react({ seat, body }: Event): Promise<void> {
  if (body.case === "state") {
    console.log(SessionState[body.value.state].toLowerCase());
    if (body.value.state === SessionState.STARTED) {
      match = new Match([1, 2]);
      showHand(match.number);
    }
  } else if (body.case === "message" && match) {
    const sent = readThrow(JSON.parse(new TextDecoder().decode(body.value.payload)));
    const round = sent && match.throw(seat, sent.round, sent.hand);
    if (!round) return;
    console.log(`round ${round.number}: ${[...round.hands].map((hand) => hand.join(" ")).join(", ")}`);
    if (match.winner === undefined) showHand(match.number);
    else await state(match);
  }
}

function showHand(round: number): void {
  // (6) Commands carry a number that grows with each; a repeat of one is recognised.
  number += 1n;
  const hand = HANDS[round % HANDS.length];
  const payload = new TextEncoder().encode(JSON.stringify({ round, hand }));
  requests.put({ commands: [{ number, payload, kind: "throw" }] });
}

async function state(over: Match): Promise<void> {
  // (7) Every player states the result; it counts when they agree.
  const seats = over.seats.map((seat) => {
    return { seat, placement: over.places[seat] ?? 0, score: BigInt(over.score[seat] ?? 0) };
  });
  await sessions.finish({ sessionId, result: { seats } }, { headers, timeoutMs: CALL_MS });
  console.log(over.winner === mine ? "won" : "lost");
}
