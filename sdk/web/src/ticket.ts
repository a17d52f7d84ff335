// Finding a match from a browser: a ticket, over as many streams as it takes.
import { equals, type MessageInitShape } from "@bufbuild/protobuf";

import { sleep } from "./backoff.js";
import { headersOf, newRequestId } from "./calls.js";
import type { Client } from "./client.js";
import { Code, fromConnectError, OofggError } from "./errors.js";
import {
  TicketReason,
  TicketSchema,
  TicketState,
  type EnqueueRequestSchema,
  type MatchInfo,
  type PlayerAttributesSchema,
  type Ticket,
} from "./gen/oofgg/v1/matchmaking_pb.js";
import { ReconnectPolicy } from "./reconnect.js";
import { Signal } from "./signal.js";
import { Watchdog } from "./watchdog.js";

// The server says every ten seconds how things are.
const SILENT_MS = 20_000;
// Leaving takes no longer than this, whether the platform answers or not: it forgets who does not watch.
const LEAVE_MS = 3_000;
// States that nobody has looked at yet; beyond that the oldest are forgotten.
const MOST_NEWS = 64;

/** A text (for rules that ask for the same), a number (for distances), or texts (for what players have in common). */
export type Attribute = string | number | readonly string[];

/** What is known of a player beside the rating. */
export interface PlayerInfo {
  attributes?: Readonly<Record<string, Attribute>>;
  /** What the player plays, best first; any when absent. */
  roles?: readonly string[];
  /** Measured milliseconds by region. */
  latencies?: Readonly<Record<string, number>>;
}

export interface EnqueueOptions extends PlayerInfo {
  /** A session in which the caller, its creator, sits with others: they come along, in one team. */
  party?: string;
  /** What is known of members of the party, by their user ids. */
  players?: Readonly<Record<string, PlayerInfo>>;
  /** Take a free seat in a session that has one, rather than wait. */
  quickJoin?: boolean;
  /** The same id gets the same ticket, after a reload of the page too. */
  requestId?: string;
  /** A dropped connection is opened again, and given up after so long without one. */
  reconnectForMs?: number;
}

/**
 * A wish to play, in the queues of a game. Made by `Client.enqueue`.
 *
 * Iterate for its states as they change, the present one first; the last one is over. Iteration throws the OofggError
 * that ends the watching otherwise. `matched` waits for the match, and `Client.watch` plays it.
 *
 * It is watched in the background, which keeps it alive, over as many connections as it takes. It leaves its queues
 * when it is cancelled or closed; who just disappears leaves them after 30 seconds, and `Client.ticket` comes back
 * before that.
 */
export class WatchedTicket implements AsyncIterableIterator<Ticket> {
  #client: Client;
  #request: MessageInitShape<typeof EnqueueRequestSchema> | undefined;
  #ticketId: string;
  #status: Ticket | undefined;
  #news: Ticket[] = [];
  #policy: ReconnectPolicy;
  #authorization = "";
  #ended = false;
  #error: OofggError | undefined;
  #failure: OofggError | undefined; // of the last stream
  #changed = new Signal();
  #closing = new AbortController();

  /** Not for games: see `Client.enqueue` and `Client.ticket`. */
  constructor(client: Client, what: MessageInitShape<typeof EnqueueRequestSchema> | string, reconnectForMs = 60_000) {
    this.#client = client;
    this.#request = typeof what === "string" ? undefined : what;
    this.#ticketId = typeof what === "string" ? what : "";
    this.#policy = new ReconnectPolicy(reconnectForMs);
    void this.#run();
  }

  /** Its id. */
  get ticketId(): string {
    return this.#ticketId;
  }

  /** All that is known of it, as last heard: who waits with it, for how long, and why not yet. */
  get status(): Ticket {
    if (!this.#status) throw new Error("the platform has not told of this ticket yet");
    return this.#status;
  }

  /** Where it is in its life, as last heard. */
  get state(): TicketState {
    return this.status.state;
  }

  /** Whether nothing more can happen. */
  get over(): boolean {
    return this.#status !== undefined && isOver(this.#status);
  }

  /**
   * Waits for the match; `Client.watch` takes it.
   *
   * Throws TICKET_STATE when the ticket ends without one; `metadata.state` and `metadata.reason` tell how. After
   * `timeoutMs` it throws with code DeadlineExceeded: the ticket goes on waiting then, and one can ask again.
   */
  async matched(timeoutMs?: number): Promise<MatchInfo> {
    const deadline = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
    while (!this.over) {
      if (this.#error) throw this.#error;
      if (this.#ended) throw new OofggError(Code.Canceled, "UNSPECIFIED", "The ticket was closed.");
      const rest = deadline && deadline - performance.now();
      if (rest !== undefined && rest <= 0) {
        throw new OofggError(Code.DeadlineExceeded, "UNSPECIFIED", "There is no match yet; the ticket waits on.");
      }
      await this.#changed.wait(rest);
    }
    const { match, state, reason, ticketId } = this.status;
    if (match && state === TicketState.MATCHED) return match;
    const how = { ticket_id: ticketId, state: TicketState[state], reason: TicketReason[reason] };
    throw new OofggError(Code.FailedPrecondition, "TICKET_STATE", `The ticket is ${how.state}: ${how.reason}.`, how);
  }

  /** Accepts the match that is proposed. Resolves to how things are then: queued again, where others have declined. */
  async accept(): Promise<Ticket> {
    try {
      return await this.#answer(true);
    } catch (failure) {
      const error = fromConnectError(failure);
      if (error.reason !== "TICKET_STATE") throw error;
    }
    // It has come to nothing, or is made already: in either case there is nothing left to accept.
    const { gameId, ticketId } = this.status;
    this.#take((await this.#client.call(this.#client.stubs.matchmaking.getTicket, { gameId, ticketId })).ticket);
    return this.status;
  }

  /**
   * Declines it, which ends the ticket: the caller may not enter a queue for a while. Nothing happens when it is over;
   * throws TICKET_STATE where none is proposed any more.
   */
  decline(): Promise<Ticket> {
    return this.#answer(false);
  }

  /** Leaves the queues, with the whole party; nothing happens when it is over. Throws TICKET_STATE once it is matched. */
  async cancel(): Promise<Ticket> {
    if (!this.over) {
      const { gameId, ticketId } = this.status;
      this.#take((await this.#client.call(this.#client.stubs.matchmaking.cancelTicket, { gameId, ticketId })).ticket);
    }
    return this.status;
  }

  /**
   * Leaves a party's ticket alone: the others keep their place, and the caller may enter a queue at once. Resolves to the
   * ticket as the caller has left it, CANCELLED for the reason LEFT. Throws TICKET_STATE once it is matched.
   */
  async leave(): Promise<Ticket> {
    if (!this.over) {
      const { gameId, ticketId } = this.status;
      this.#take((await this.#client.call(this.#client.stubs.matchmaking.leaveTicket, { gameId, ticketId })).ticket);
    }
    return this.status;
  }

  /** Leaves the queues unless it is over, and stops watching. Never throws for the platform's sake. */
  async close(): Promise<void> {
    if (this.#status && !this.over) {
      const late = sleep(LEAVE_MS, this.#closing.signal).catch(() => undefined);
      await Promise.race([this.cancel().catch(() => undefined), late]);
    }
    this.#end(undefined);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Ticket, undefined>> {
    for (;;) {
      const status = this.#news.shift();
      if (status) return { done: false, value: status };
      if (this.#error) throw this.#error;
      if (this.#ended) return { done: true, value: undefined };
      await this.#changed.wait();
    }
  }

  /** Resolves when it waits in its queues. Throws the OofggError that prevents it. */
  async entered(): Promise<this> {
    const deadline = performance.now() + this.#client.caller.timeoutMs;
    while (!this.#status && !this.#ended) {
      const rest = deadline - performance.now();
      if (rest > 0) await this.#changed.wait(rest);
      else this.#end(this.#failure ?? new OofggError(Code.DeadlineExceeded, "UNSPECIFIED", "No answer came in time."));
    }
    if (!this.#status && this.#error) throw this.#error;
    return this;
  }

  async #answer(accept: boolean): Promise<Ticket> {
    if (this.over) return this.status;
    const { gameId, ticketId } = this.status;
    const request = { gameId, ticketId, accept };
    this.#take((await this.#client.call(this.#client.stubs.matchmaking.answerProposal, request)).ticket);
    return this.status;
  }

  #take(status: Ticket | undefined, streamed = false): void {
    const before = this.#status;
    // What came another way may have overtaken it.
    if (!status || this.over || (!streamed && before && before.version > status.version)) return;
    this.#ticketId = status.ticketId;
    this.#status = status;
    if (!before || !equals(TicketSchema, before, status)) this.#news.push(status);
    if (this.#news.length > MOST_NEWS) this.#news.shift();
    if (isOver(status)) this.#end(undefined);
    this.#changed.wake();
  }

  #end(error: OofggError | undefined): void {
    if (!this.#ended) this.#error = error;
    this.#ended = true;
    this.#closing.abort();
    this.#changed.wake();
  }

  async #run(): Promise<void> {
    try {
      await this.#follow();
      this.#end(undefined);
    } catch (error) {
      this.#end(fromConnectError(error));
    }
  }

  async #follow(): Promise<void> {
    while (!this.#ended) {
      const [began, heard] = [performance.now(), this.#status];
      let error = new OofggError(Code.Unavailable, "UNSPECIFIED", "The stream ended.");
      try {
        await this.#stream();
      } catch (failure) {
        error = fromConnectError(failure);
      }
      if (this.#ended) return;
      this.#failure = error;
      if (this.#status !== heard) this.#policy.worked(performance.now() - began);
      // There is no place, or not yet: nothing is kept for who waits here.
      if (!this.#status && error.code === Code.ResourceExhausted) throw error;
      if (error.reason === "TICKET_NOT_FOUND" && this.#request && this.#ticketId) {
        this.#ticketId = ""; // the platform has lost it: it is entered again
        continue;
      }
      const retry = this.#policy.next(error, performance.now());
      await sleep(retry.delayMs, this.#closing.signal);
      if (retry.renew) await this.#client.authority.renewed(this.#authorization);
    }
  }

  /** Watches until the platform ends it. Throws what broke it. */
  async #stream(): Promise<void> {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.#closing.signal]);
    const watchdog = new Watchdog(() => stop.abort());
    try {
      watchdog.expect(SILENT_MS);
      this.#authorization = await this.#client.authority.authorization();
      const ticket =
        this.#request && !this.#ticketId
          ? ({ case: "enqueue", value: this.#request } as const)
          : ({ case: "ticketId", value: this.#ticketId } as const);
      const headers = headersOf(this.#authorization, "");
      for await (const response of this.#client.stubs.matchmaking.watchTicket({ ticket }, { headers, signal })) {
        watchdog.expect(SILENT_MS);
        this.#take(response.ticket, true);
      }
    } finally {
      watchdog.rest();
      stop.abort();
    }
  }
}

/** The request that enters queues. Throws TypeError for an attribute that is no text, number or list of texts. */
export function enqueueRequest(
  gameId: string,
  queues: string | readonly string[],
  options: EnqueueOptions,
): MessageInitShape<typeof EnqueueRequestSchema> {
  const { party = "", players = {}, quickJoin = false, requestId = newRequestId() } = options;
  const { attributes, roles, latencies } = options;
  return {
    gameId,
    queues: [queues].flat(),
    ...(attributes || roles || latencies ? { attributes: attributesOf(options) } : {}),
    partySessionId: party,
    players: Object.entries(players).map(([userId, info]) => ({ userId, attributes: attributesOf(info) })),
    quickJoin,
    requestId,
  };
}

function attributesOf(info: PlayerInfo): MessageInitShape<typeof PlayerAttributesSchema> {
  const texts: Record<string, string> = {};
  const numbers: Record<string, number> = {};
  const lists: Record<string, { values: string[] }> = {};
  for (const [name, value] of Object.entries(info.attributes ?? {})) {
    if (typeof value === "string") texts[name] = value;
    else if (typeof value === "number" && Number.isFinite(value)) numbers[name] = value;
    else if (Array.isArray(value) && value.every((each) => typeof each === "string")) lists[name] = { values: value };
    else throw new TypeError(`the attribute ${name} is no text, number or list of texts`);
  }
  return { texts, numbers, lists, latenciesMs: { ...info.latencies }, roles: [...(info.roles ?? [])] };
}

/** Whether nothing more can happen to it. */
export function isOver({ state }: Ticket): boolean {
  return [TicketState.MATCHED, TicketState.CANCELLED, TicketState.EXPIRED, TicketState.FAILED].includes(state);
}
