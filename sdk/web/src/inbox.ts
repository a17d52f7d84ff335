// What a participant has received: each reliable event once, in order; acknowledged when the game took it.
import { PresenceChange, SessionState } from "./gen/oofgg/v1/session_pb.js";
import type { Event, Session, StreamOpened, WatchResponse } from "./gen/oofgg/v1/session_pb.js";

// The server waits once 64 KiB are not acknowledged: tell it well before.
const ACK_BYTES = 16 * 1024;
const ACK_MS = 100;

/** A reliable event is missing: the stream has to be opened again. */
export class Gap extends Error {}

/** Whether nothing more can happen in a session. */
export function isOver(state: SessionState): boolean {
  return state === SessionState.FINISHED || state === SessionState.DELETED;
}

interface Arrived {
  event: Event;
  stream: number;
  /** Acknowledged with this event; 0 for none. */
  flush: bigint;
  bytes: number;
}

/** Events of one session, over all its streams. The server bounds what waits here by what is acknowledged. */
export class Inbox {
  session: Session | undefined;
  seat = 0;
  /** That of the stream that brought the last event; 0 before the first. */
  epoch = 0n;
  /** The seat was given up or taken away. */
  dismissed = false;
  #waiting: Arrived[] = [];
  #known = 0n; // `session` is as of this event
  #stream = 0;
  #taken = 0n; // flush to acknowledge
  #takenBytes = 0;
  #takenSince: number | undefined;

  /** Events begin after this number; undefined begins with what happens from now on. */
  constructor(public afterSeq: bigint | undefined) {}

  /** Whether no stream will bring anything more. */
  get over(): boolean {
    return this.dismissed || (this.session !== undefined && isOver(this.session.state));
  }

  /** A stream has begun. */
  open(opened: StreamOpened): void {
    this.#stream += 1;
    this.#taken = 0n;
    this.#takenBytes = 0;
    this.#takenSince = undefined;
    this.session = opened.session;
    this.seat = opened.seat;
    this.epoch = opened.epoch;
    this.dismissed = false;
    this.#known = opened.headSeq;
    this.afterSeq ??= opened.headSeq;
  }

  /** Takes what came, of this many bytes. Throws Gap. */
  receive(response: WatchResponse, bytes: number, now: number): void {
    for (const event of response.events) {
      if (this.#accepts(event) && !event.hidden) this.#waiting.push({ event, stream: this.#stream, flush: 0n, bytes: 0 });
    }
    if (!response.flush) return;
    const last = this.#waiting.at(-1);
    if (last?.stream === this.#stream) {
      last.flush = response.flush; // later flushes include earlier ones
      last.bytes += bytes;
    } else {
      this.#consumed(response.flush, bytes, now);
    }
  }

  /** The next event for the game. */
  take(now: number): Event | undefined {
    const arrived = this.#waiting.shift();
    if (arrived?.flush && arrived.stream === this.#stream) this.#consumed(arrived.flush, arrived.bytes, now);
    return arrived?.event;
  }

  /** When the next acknowledgement should leave; undefined while there is nothing to acknowledge. */
  get ackDue(): number | undefined {
    if (this.#takenSince === undefined) return undefined;
    return this.#takenBytes >= ACK_BYTES ? this.#takenSince : this.#takenSince + ACK_MS;
  }

  /** The flush to acknowledge now; 0 for none. */
  acknowledge(): bigint {
    if (this.#takenSince === undefined) return 0n;
    this.#takenBytes = 0;
    this.#takenSince = undefined;
    return this.#taken;
  }

  #consumed(flush: bigint, bytes: number, now: number): void {
    this.#taken = flush;
    this.#takenBytes += bytes;
    this.#takenSince ??= now;
  }

  #accepts(event: Event): boolean {
    if (event.body.case === "logReset") {
      this.afterSeq = this.#known = event.seq;
      this.session = event.body.value.session;
      return true;
    }
    if (!event.seq) return true;
    const expected = (this.afterSeq ?? 0n) + 1n;
    if (event.seq < expected) return false;
    if (event.seq > expected) throw new Gap(`event ${event.seq} came after ${expected - 1n}`);
    this.afterSeq = event.seq;
    if (event.seq > this.#known) {
      this.#known = event.seq;
      this.#learn(event);
    }
    return true;
  }

  #learn({ body }: Event): void {
    const session = this.session;
    if (!session) return;
    if (body.case === "state") {
      session.state = body.value.state;
      session.endReason = body.value.endReason;
    } else if (body.case === "change") {
      session.label = body.value.label;
      session.attributes = body.value.attributes;
      session.creatorUserId = body.value.creatorUserId;
      session.version = body.value.version;
    } else if (body.case === "result") {
      session.resultState = body.value.state;
      if (body.value.result) session.result = body.value.result;
    } else if (body.case === "presence" && body.value.seat) {
      const { seat } = body.value;
      const { change } = body.value;
      const gone = [PresenceChange.LEFT, PresenceChange.KICKED].includes(change);
      const departed = session.departedSeats.filter(
        (left) => left.seat !== seat.seat && (gone || left.userId !== seat.userId),
      );
      const begun = [SessionState.STARTED, SessionState.PAUSED].includes(session.state);
      session.departedSeats = change === PresenceChange.LEFT && begun ? [...departed, seat] : departed;
      const others = session.seats.filter((other) => other.seat !== seat.seat);
      session.seats = gone ? others : [...others, seat].sort((one, two) => one.seat - two.seat);
      this.dismissed ||= gone && seat.seat === this.seat;
    }
  }
}
