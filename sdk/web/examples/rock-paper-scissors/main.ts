// A whole game in a page: ?platform=http://localhost:8080&game=<game id>, and perhaps &session=<session id>.
import {
  Client,
  json,
  OofggError,
  PresenceChange,
  ResultState,
  SessionState,
  type Event,
  type WatchedSession,
} from "../../src/index.js";
import { HANDS, Match, readThrow, type Hand, type Round } from "./rules.js";

const THROW = "throw";
const told = new URLSearchParams(location.search);
const client = new Client(told.get("platform") ?? location.origin, {
  game: told.get("game") ?? "",
  storage: sessionStorage, // a reload keeps the login
  timeoutMs: 5_000,
});
let session: WatchedSession | undefined;
let match: Match | undefined;
let thrown = new Map<number, Hand>(); // by round

const at = <E extends HTMLElement>(id: string): E => document.getElementById(id) as E;
const loginForm = at<HTMLFormElement>("login");
const lobby = at<HTMLFormElement>("lobby");
const game = at("game");

loginForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const { username, password, email } = fields(loginForm);
  const isNew = (event.submitter as HTMLButtonElement | null)?.value === "register";
  act(async () => {
    await (isNew ? client.register(username, email, password) : client.login(username, password));
    await showLobby();
  });
});

lobby.addEventListener("submit", (event) => {
  event.preventDefault();
  act(async () => {
    const { session: chosen } = fields(lobby);
    const id = chosen.trim() || (await client.createSession({ label: "duel", maxSeats: 2 })).sessionId;
    await play(id);
  });
});

at("logout").addEventListener("click", () => {
  act(async () => {
    await client.logout();
    show(loginForm, "Log in to play.");
  });
});

at("leave").addEventListener("click", () => act(async () => session?.leave()));

for (const button of handButtons()) {
  button.addEventListener("click", () => act(() => throwHand(button.dataset["hand"] as Hand)));
}

if (client.loginInfo) act(showLobby); // as before the reload

async function showLobby(): Promise<void> {
  at("player").textContent = (await client.account()).username;
  at<HTMLInputElement>("wanted").value = told.get("session") ?? "";
  show(lobby, "Ready.");
}

async function play(sessionId: string): Promise<void> {
  const watched = (session = await client.watch(sessionId));
  match = undefined;
  thrown = new Map();
  at("session").textContent = sessionId;
  at("leave").hidden = false;
  at("events").replaceChildren();
  show(game, "Waiting for another player.");
  for await (const event of watched) await react(watched, event);
  await showLobby();
  status(watched.info.state === SessionState.FINISHED ? `The match is over. ${outcome(watched)}` : "The session is over.");
  game.hidden = false; // to look at
  at("leave").hidden = true;
}

function outcome(watched: WatchedSession): string {
  if (watched.info.resultState !== ResultState.AGREED) return "The players do not agree on who has won.";
  return match?.winner === watched.seat ? "You have won." : "You have lost.";
}

async function react(watched: WatchedSession, event: Event): Promise<void> {
  const { body } = event;
  if (body.case === "presence" && body.value.seat) {
    note(`${body.value.seat.username} ${PresenceChange[body.value.change].toLowerCase()}`);
  } else if (body.case === "state") {
    note(`the session is ${SessionState[body.value.state].toLowerCase()}`);
    if (body.value.state === SessionState.STARTED) begin(watched);
  } else if (body.case === "result") {
    note(`result: ${ResultState[body.value.state].toLowerCase()}`);
  } else if (body.case === "logReset") {
    // The server lost the end of the log. What was thrown stands, and a throw may come twice.
    for (const round of thrown.keys()) await sendThrow(watched, round);
  } else if (body.case === "message" && body.value.kind === THROW && match) {
    const sent = readThrow(json(body.value));
    const done = sent && match.throw(event.seat, sent.round, sent.hand);
    if (done) await endRound(watched, match, done);
    else if (sent && event.seat !== watched.seat) note(`${nameOf(watched, event.seat)} has chosen`);
  }
}

function begin(watched: WatchedSession): void {
  const [one, two] = watched.info.seats.map((seat) => seat.seat);
  if (one === undefined || two === undefined) return;
  match = new Match([one, two]);
  at("name-left").textContent = nameOf(watched, watched.seat);
  at("name-right").textContent = nameOf(watched, one === watched.seat ? two : one);
  askForHand(match);
}

async function endRound(watched: WatchedSession, current: Match, { number, hands, winner }: Round): Promise<void> {
  const shown = [...hands].map(([seat, hand]) => `${nameOf(watched, seat)} ${hand}`).join(", ");
  note(`round ${number}: ${shown}: ${winner === undefined ? "a draw" : `${nameOf(watched, winner)} wins`}`);
  for (const seat of current.seats) {
    at(seat === watched.seat ? "score-left" : "score-right").textContent = String(current.score[seat]);
  }
  if (current.winner === undefined) {
    askForHand(current);
  } else {
    status("Waiting for the other player to agree.");
    await watched.finish(current.places, current.score);
  }
}

async function throwHand(hand: Hand): Promise<void> {
  if (!session || !match) return;
  thrown.set(match.number, hand);
  for (const button of handButtons()) button.disabled = true;
  status("Waiting for the other hand.");
  await sendThrow(session, match.number);
}

async function sendThrow(watched: WatchedSession, round: number): Promise<void> {
  await watched.send({ round, hand: thrown.get(round) }, { kind: THROW });
}

function askForHand(current: Match): void {
  for (const button of handButtons()) button.disabled = false;
  status(`Round ${current.number}: choose.`);
}

function nameOf(watched: WatchedSession, seat: number): string {
  return watched.info.seats.find((taken) => taken.seat === seat)?.username ?? `seat ${seat}`;
}

function handButtons(): HTMLButtonElement[] {
  return HANDS.map((hand) => document.querySelector<HTMLButtonElement>(`[data-hand=${hand}]`)).filter((found) => !!found);
}

function fields(form: HTMLFormElement): Record<"username" | "password" | "email" | "session", string> {
  const data = new FormData(form);
  const field = (name: string): string => String(data.get(name) ?? "");
  return { username: field("username"), password: field("password"), email: field("email"), session: field("session") };
}

function show(part: HTMLElement, line: string): void {
  for (const other of [loginForm, lobby, game]) other.hidden = other !== part;
  status(line);
}

function status(line: string): void {
  at("status").textContent = line;
}

function note(line: string): void {
  const item = document.createElement("li");
  item.textContent = line;
  at("events").prepend(item);
}

/** Does what somebody asked for, and shows why it could not be done. */
function act(task: () => Promise<unknown>): void {
  const box = at("error");
  box.hidden = true;
  task().catch((error: unknown) => {
    box.textContent = error instanceof OofggError ? `${error.reason}: ${error.message}` : String(error);
    box.hidden = false;
    if (error instanceof OofggError && !client.loginInfo) show(loginForm, "Log in to play.");
  });
}
