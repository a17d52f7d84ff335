// Playing in a session from a browser: one seat, over as many streams as it takes.
//
// A page has no bidirectional streams: `Watch` brings the events, and `Send`, one call at a time, carries commands,
// acknowledgements and signs of life the other way.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";

import { sleep } from "./backoff.js";
import { headersOf, newRequestId } from "./calls.js";
import type { Client, KickOptions } from "./client.js";
import { ClockOffset } from "./clock.js";
import { Code, fromConnectError, OofggError } from "./errors.js";
import { DeliveryClass, SessionState, type SendRequestSchema } from "./gen/oofgg/v1/session_pb.js";
import type { MatchInfo } from "./gen/oofgg/v1/matchmaking_pb.js";
import type {
  Event,
  FinishResponse,
  Placement,
  Seat,
  Session,
  StreamOpened,
  WatchResponse,
} from "./gen/oofgg/v1/session_pb.js";
import { Gap, Inbox } from "./inbox.js";
import { Outbox } from "./outbox.js";
import { encode } from "./payload.js";
import { ReconnectPolicy } from "./reconnect.js";
import type { Places } from "./results.js";
import { Signal } from "./signal.js";
import { Watchdog } from "./watchdog.js";

const OPEN_MS = 10_000;
const FLUSH_MS = 5_000;
const LAST_WORD_MS = 2_000;
const DEFAULT_HEARTBEAT_MS = 10_000;
// A server that was not heard for so many heartbeats is gone: found well within two.
const MISSED = 1.75;
const MOST_PAYLOAD = 64 * 1024;
const MOST_NAME = 64;
const THROTTLED_MS = 1_000;
// An event without its payload, about.
const EVENT_BYTES = 64;

export interface WatchOptions {
  /** Team to join, from 1; 0 for none. */
  team?: number;
  /** Events begin after this number: by default with the first the session still has; "now" leaves them all out. */
  after?: bigint | "now";
  /** A dropped connection is opened again, and given up after so long without one. */
  reconnectForMs?: number;
  /** Watch without a seat, where the session allows spectators: nothing can be sent. */
  spectate?: boolean;
}

export interface SendOptions {
  /** RELIABLE unless told otherwise. */
  delivery?: DeliveryClass;
  /** For LATEST: what this is the newest value of. */
  key?: string;
  /** The game's own name for the kind of payload. */
  kind?: string;
  /** Only for these seats; with `team`, also for them. */
  to?: number | number[];
  /** Only for the members of this team. */
  team?: number;
}

/**
 * A seat in a session that is being played. Made by `Client.watch`.
 *
 * Iterate to receive: RELIABLE events come once each and in order, whatever happens to the connection. Iteration ends
 * when the session is over or the seat is given up, and throws the OofggError that ends it otherwise, such as REPLACED
 * when another client took the seat. Keep iterating: who does not is closed as too slow.
 */
export class WatchedSession implements AsyncIterableIterator<Event> {
  #client: Client;
  #inbox: Inbox;
  #outbox = new Outbox();
  #policy: ReconnectPolicy;
  #spectate: boolean;
  #node = "";
  #authorization = "";
  #connected = false;
  #ended = false;
  #error: OofggError | undefined;
  #beat = false; // the server wants a sign of life
  #clock = new ClockOffset();
  #throttledUntil = 0;
  // What `leave` gives up is the seat of this client, not that of another one that has taken it over.
  #instanceId = newRequestId();
  #changed = new Signal(); // for who waits for events, room or the end
  #wake = new Signal(); // for the sender
  #closing = new AbortController();

  /** Not for games: see `Client.watch`. */
  constructor(client: Client, session: string | MatchInfo, options: WatchOptions) {
    this.#client = client;
    this.#inbox = new Inbox(options.after === "now" ? undefined : (options.after ?? 0n));
    this.#spectate = options.spectate ?? false;
    this.#policy = new ReconnectPolicy(options.reconnectForMs ?? 60_000);
    void this.#run(session, options.team ?? 0);
  }

  /** The session as far as it was received, which may be ahead of the iteration. */
  get info(): Session {
    if (!this.#inbox.session) throw new Error("the session is not open yet");
    return this.#inbox.session;
  }

  /** Number of the caller's seat; 0 for a spectator. */
  get seat(): number {
    return this.#inbox.seat;
  }

  /** Who a result is about: who has a seat, and who has left since the session started and was not replaced. */
  get roster(): Seat[] {
    return [...this.info.seats, ...this.info.departedSeats].sort((one, two) => one.seat - two.seat);
  }

  /** Whether a stream is open at the moment. */
  get connected(): boolean {
    return this.#connected;
  }

  /**
   * Milliseconds by which the platform's clock is ahead: `Date.now() + clockOffset` is the time of `eventTime`. Right to
   * within half the shortest of the last round trips; undefined until the first thing that was sent was answered.
   */
  get clockOffset(): number | undefined {
    return this.#clock.estimate;
  }

  /** Whether the platform takes less than this client sends, now or a moment ago: send less often, or less. */
  get throttled(): boolean {
    return performance.now() < this.#throttledUntil;
  }

  /**
   * Sends bytes, text or anything JSON, of at most 64 KiB, to everybody in the session, or only to some seats or a team.
   *
   * Resolves to true when it is queued; to false, and sends nothing, when the session is over or the seat was given up,
   * which the iteration tells a moment later. A RELIABLE command arrives once, whatever happens to the connection, unless the page is
   * closed first; when 256 of them or 1 MiB are under way, `send` waits. Throws RangeError for what is too large, and
   * the OofggError that ended the session.
   */
  async send(payload: unknown, options: SendOptions = {}): Promise<boolean> {
    const { delivery = DeliveryClass.RELIABLE, key = "", kind = "", to = [], team = 0 } = options;
    if (this.#spectate) throw new TypeError("a spectator cannot send: watch without `spectate` to take a seat");
    const bytes = encode(payload);
    if (bytes.length > MOST_PAYLOAD) throw new RangeError(`a payload has at most ${MOST_PAYLOAD} bytes`);
    if (key.length > MOST_NAME || kind.length > MOST_NAME) {
      throw new RangeError(`kind and key have at most ${MOST_NAME} characters`);
    }
    while (!this.#isOver()) {
      if (delivery !== DeliveryClass.RELIABLE || this.#outbox.hasRoom(bytes.length)) {
        this.#outbox.put(bytes, kind, delivery, key, [to].flat(), team);
        this.#wake.wake();
        return true;
      }
      await this.#changed.wait();
    }
    return false;
  }

  /** Waits until every RELIABLE command is safe with the platform. Throws the OofggError that ended the session. */
  async flush(): Promise<void> {
    while (this.#outbox.unsafe) await this.#change();
  }

  /** Waits until enough seats are taken. Throws SESSION_STATE if the session ends instead. */
  async started(): Promise<void> {
    while (this.info.state === SessionState.CREATED || this.info.state === SessionState.WAITING) await this.#change();
    this.#requireOpen();
  }

  /**
   * States the result: a place per seat, `{1: 1, 2: 2}`. The session ends when all agree, or their time is up. It is about
   * everybody in `roster`, also who has left.
   */
  finish(places: Places, scores: Places = {}): Promise<FinishResponse> {
    return this.#client.finish(this.info.sessionId, places, scores);
  }

  /** Removes a participant; see `Client.kick`. */
  kick(seat: number, options: KickOptions = {}): Promise<void> {
    return this.#client.kick(this.info.sessionId, seat, options);
  }

  /**
   * Gives the seat up, which ends the iteration, and resolves to true. It resolves to false, and nothing happens, when
   * there is nothing to give up: the session is over, the seat is gone, or another client of the same account has taken
   * it over (REPLACED), whose seat it is then.
   */
  async leave(): Promise<boolean> {
    const { sessionId } = this.info;
    if (this.#inbox.over || hasNoSeat(this.#error)) return false;
    try {
      await this.#client.leave(sessionId, this.#instanceId);
    } catch (failure) {
      if (hasNoSeat(fromConnectError(failure))) return false;
      throw failure;
    }
    return true;
  }

  /** Stops watching, once what was sent is safe or five seconds are over. The seat is kept for a while. */
  async close(): Promise<void> {
    const late = sleep(FLUSH_MS, this.#closing.signal).catch(() => undefined);
    if (!this.#ended && !this.#inbox.over) await Promise.race([this.flush().catch(() => undefined), late]);
    this.#closing.abort();
    this.#end(undefined);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Event, undefined>> {
    for (;;) {
      const event = this.#inbox.take(performance.now());
      if (event) {
        if (this.#inbox.ackDue !== undefined) this.#wake.wake();
        return { done: false, value: event };
      }
      if (this.#error) throw this.#error;
      if (this.#ended) return { done: true, value: undefined };
      await this.#changed.wait();
    }
  }

  /** Resolves when the first stream is open. Throws the OofggError that prevents it. */
  async opened(): Promise<this> {
    while (!this.#inbox.session && !this.#ended) await this.#changed.wait();
    if (this.#error) throw this.#error;
    return this;
  }

  /** Whether the session is over for this player, which is no error. Throws what ended it otherwise. */
  #isOver(): boolean {
    if (this.#inbox.over && !this.#error) return true;
    this.#requireOpen();
    return false;
  }

  #requireOpen(): void {
    if (this.#error) throw this.#error;
    if (this.#ended || this.#inbox.over) {
      throw new OofggError(Code.FailedPrecondition, "SESSION_STATE", "The session is over.");
    }
  }

  async #change(): Promise<void> {
    this.#requireOpen();
    await this.#changed.wait();
    this.#requireOpen();
  }

  #end(error: OofggError | undefined): void {
    if (!this.#ended) this.#error = error;
    this.#ended = true;
    this.#connected = false;
    this.#changed.wake();
  }

  async #run(session: string | MatchInfo, team: number): Promise<void> {
    try {
      await this.#play(session, team);
      this.#end(undefined);
    } catch (error) {
      this.#end(fromConnectError(error));
    }
  }

  async #play(session: string | MatchInfo, team: number): Promise<void> {
    const sessionId = typeof session === "string" ? session : session.sessionId;
    this.#node = (await this.#find(session, sessionId, team)).placement?.node ?? "";
    while (!this.#closing.signal.aborted) {
      const began = performance.now();
      let error = new OofggError(Code.Unavailable, "UNSPECIFIED", "The stream ended.");
      try {
        await this.#stream(sessionId);
        if (this.#inbox.over) return;
      } catch (failure) {
        error = fromConnectError(failure);
      }
      if (this.#closing.signal.aborted) return;
      if (this.#connected) this.#policy.worked(performance.now() - began);
      this.#connected = false;
      const retry = this.#policy.next(error, performance.now());
      await sleep(retry.delayMs, this.#closing.signal);
      this.#node = retry.node ?? this.#node;
      if (retry.restart) this.#inbox.afterSeq = undefined;
      if (retry.renew) await this.#client.authority.renewed(this.#authorization);
    }
  }

  /** Where the session runs, in which the caller then has a seat. */
  async #find(
    session: string | MatchInfo,
    sessionId: string,
    team: number,
  ): Promise<{ placement?: Placement | undefined }> {
    if (this.#spectate) return await this.#client.call(this.#client.stubs.sessions.getSession, { sessionId });
    // A match has seats for its players.
    return typeof session === "string" ? await this.#client.join(sessionId, team) : session;
  }

  /** Serves one stream until the server ends it. Throws what broke it. */
  async #stream(sessionId: string): Promise<void> {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.#closing.signal]);
    let cause: unknown;
    const breakOff = (error: unknown): void => {
      cause ??= error;
      stop.abort();
    };
    const watchdog = new Watchdog(() => {
      breakOff(new OofggError(Code.DeadlineExceeded, "UNSPECIFIED", "Nothing was heard from the server for too long."));
    });
    let heartbeatMs = 0;
    let sender: Promise<void> | undefined;
    try {
      watchdog.expect(OPEN_MS);
      this.#authorization = await this.#client.authority.authorization();
      const { afterSeq, epoch } = this.#inbox;
      const from = afterSeq === undefined ? {} : { afterSeq, epoch };
      const instanceId = this.#spectate ? "" : this.#instanceId;
      const open = { sessionId, spectate: this.#spectate, instanceId, ...from };
      const headers = headersOf(this.#authorization, this.#node);
      for await (const response of this.#client.stubs.sessions.watch({ open }, { headers, signal })) {
        if (response.opened) {
          heartbeatMs = response.opened.heartbeatMs || DEFAULT_HEARTBEAT_MS;
          this.#open(response.opened);
          sender = this.#send(sessionId, signal).catch(breakOff);
        }
        watchdog.expect(heartbeatMs * MISSED);
        this.#take(response);
      }
      if (!sender) throw new OofggError(Code.Unavailable, "UNSPECIFIED", "The stream ended before it began.");
    } catch (failure) {
      const error = cause ?? failure;
      throw error instanceof Gap ? new OofggError(Code.Unavailable, "UNSPECIFIED", error.message) : error;
    } finally {
      watchdog.rest();
      stop.abort();
      await sender;
    }
  }

  #open(opened: StreamOpened): void {
    this.#inbox.open(opened);
    this.#outbox.reopen(opened.command);
    this.#beat = false;
    this.#connected = true;
  }

  #take(response: WatchResponse): void {
    const bytes = response.events.reduce((sum, { body }) => {
      return sum + EVENT_BYTES + (body.case === "message" ? body.value.payload.length : 0);
    }, 0);
    this.#outbox.acknowledge(response.ackCommand);
    this.#beat ||= response.heartbeat !== undefined;
    this.#inbox.receive(response, bytes, performance.now());
    this.#changed.wake();
    this.#wake.wake();
  }

  /** Sends until the stream is over. Throws the OofggError that makes it useless. */
  async #send(sessionId: string, signal: AbortSignal): Promise<void> {
    const { caller, stubs, authority } = this.#client;
    signal.addEventListener("abort", () => this.#wake.wake(), { once: true });
    while (!signal.aborted) {
      const request = this.#compose(sessionId, performance.now());
      if (!request) {
        const due = this.#inbox.ackDue;
        await this.#wake.wait(due && due - performance.now());
        continue;
      }
      try {
        const began = performance.now();
        const response = await caller.call(stubs.sessions.send, request, { authority, node: this.#node, signal });
        this.#outbox.acknowledge(response.ackCommand);
        if (response.throttleMs) this.#throttledUntil = performance.now() + THROTTLED_MS;
        else if (response.serverTime) {
          this.#clock.add(performance.now() - began, timestampMs(response.serverTime), Date.now());
        }
        this.#changed.wake();
      } catch (failure) {
        const error = fromConnectError(failure);
        await sleep(LAST_WORD_MS, signal); // the stream knows better why it ends
        // Without a stream one is no participant either. Whether the seat is gone too, opening another will tell.
        throw error.reason === "NOT_A_PARTICIPANT"
          ? new OofggError(Code.Unavailable, "UNSPECIFIED", "The stream is gone.")
          : error;
      }
    }
  }

  #compose(sessionId: string, now: number): MessageInitShape<typeof SendRequestSchema> | undefined {
    const commands = this.#outbox.take();
    const due = this.#inbox.ackDue;
    if (!commands.length && !this.#beat && (due === undefined || due > now)) return undefined;
    this.#beat = false;
    return { sessionId, commands, ackFlush: this.#inbox.acknowledge() };
  }
}

/** Whether this says that the caller has no seat in the session, or none that it may give up. */
function hasNoSeat(error: OofggError | undefined): boolean {
  const reasons = ["REPLACED", "SESSION_STATE", "SESSION_NOT_FOUND", "NOT_A_PARTICIPANT"];
  return error !== undefined && reasons.includes(error.reason);
}
