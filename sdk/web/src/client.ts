// The client: one login at one platform.
import { createClient, type Client as Stub, type Transport } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { Caller, newRequestId, type Authority } from "./calls.js";
import { fromConnectError } from "./errors.js";
import { AuthService, type Account } from "./gen/oofgg/v1/auth_pb.js";
import { GameService } from "./gen/oofgg/v1/game_pb.js";
import { HistoryService } from "./gen/oofgg/v1/history_pb.js";
import { LeaderboardService } from "./gen/oofgg/v1/leaderboard_pb.js";
import { MatchmakingService, type MatchInfo } from "./gen/oofgg/v1/matchmaking_pb.js";
import {
  SessionService,
  SessionState,
  type FinishResponse,
  type JoinResponse,
  type Session,
} from "./gen/oofgg/v1/session_pb.js";
import { LoginKeeper, type Login, type LoginStorage } from "./login.js";
import { resultOf, type Places } from "./results.js";
import { enqueueRequest, isOver, WatchedTicket, type EnqueueOptions } from "./ticket.js";
import { WatchedSession, type WatchOptions } from "./watch.js";

const PAGE = 100;

export interface ClientOptions {
  /** Log in as a player of this game; without it logins are console logins. */
  game?: string;
  /** For each call with its repeats; 15 s when absent. */
  timeoutMs?: number;
  /** Keeps the login over a reload of the page, such as `sessionStorage`. One page at a time may use it. */
  storage?: LoginStorage;
  /** How calls travel; grpc-web over `fetch` when absent. */
  transport?: Transport;
}

export interface SessionOptions {
  label?: string;
  attributes?: Record<string, string>;
  /** Starts when so many seats are taken; 0 means two. */
  minSeats?: number;
  maxSeats?: number;
  /** Most spectators at a time; none when absent. */
  maxSpectators?: number;
  /** Longest time between two flushes under load, 0 to 1,000. */
  flushWindowMs?: number;
}

export interface ListOptions {
  /** Only sessions in this state. */
  state?: SessionState;
  /** Only sessions with this label. */
  label?: string;
}

export interface KickOptions {
  /** What to say about it, at most 200 characters; all participants see it. */
  reason?: string;
  /** Whether that account may join again. */
  mayReturn?: boolean;
}

/** The generated clients, for what is not wrapped: `client.call(client.stubs.history.getMatch, { matchId })`. */
export interface Stubs {
  readonly auth: Stub<typeof AuthService>;
  readonly games: Stub<typeof GameService>;
  readonly sessions: Stub<typeof SessionService>;
  readonly leaderboards: Stub<typeof LeaderboardService>;
  readonly history: Stub<typeof HistoryService>;
  readonly matchmaking: Stub<typeof MatchmakingService>;
}

/**
 * A platform at an address such as `https://play.example.com`, and at most one login there.
 *
 * Tokens are renewed by themselves. Calls are repeated while the platform cannot be reached, and then fail with code
 * Unavailable; everything they fail with is an OofggError.
 */
export class Client {
  readonly game: string;
  readonly stubs: Stubs;
  readonly caller: Caller;
  #login: LoginKeeper;

  constructor(baseUrl: string, options: ClientOptions = {}) {
    const transport = options.transport ?? createGrpcWebTransport({ baseUrl });
    this.game = options.game ?? "";
    this.caller = new Caller(options.timeoutMs ?? 15_000);
    this.stubs = {
      auth: createClient(AuthService, transport),
      games: createClient(GameService, transport),
      sessions: createClient(SessionService, transport),
      leaderboards: createClient(LeaderboardService, transport),
      history: createClient(HistoryService, transport),
      matchmaking: createClient(MatchmakingService, transport),
    };
    this.#login = new LoginKeeper(this.stubs.auth, this.caller, options.storage, `oofgg ${baseUrl} ${this.game}`);
  }

  /** Who is logged in. */
  get loginInfo(): Login | undefined {
    return this.#login.login;
  }

  /** Where the header with the access token comes from. */
  get authority(): Authority {
    return this.#login;
  }

  /** Creates an account and logs it in. Throws USERNAME_TAKEN, EMAIL_TAKEN, INVALID_FIELD. */
  async register(username: string, email: string, password: string): Promise<Login> {
    const request = { username, email, password, gameId: this.game, requestId: newRequestId() };
    return this.#login.accept(await this.caller.call(this.stubs.auth.register, request, {}), this.game);
  }

  /** Logs an account in. Throws BAD_CREDENTIALS. */
  async login(username: string, password: string): Promise<Login> {
    const request = { username, password, gameId: this.game };
    return this.#login.accept(await this.caller.call(this.stubs.auth.login, request, {}), this.game);
  }

  /**
   * Logs in with the secret of a device, 16 to 128 characters that nobody can guess, such as a random UUID. A device
   * without an account gets one, unless `existingOnly`: then it throws ACCOUNT_NOT_FOUND. Who has the secret has the
   * account.
   */
  async loginGuest(deviceId: string, { existingOnly = false } = {}): Promise<Login> {
    const request = { deviceId, gameId: this.game, existingOnly };
    return this.#login.accept(await this.caller.call(this.stubs.auth.loginGuest, request, {}), this.game);
  }

  /** Ends the login: its tokens stop working everywhere, its streams end. */
  async logout(): Promise<void> {
    await this.call(this.stubs.auth.logout, {});
    this.#login.forget();
  }

  /** The account that is logged in. */
  async account(): Promise<Account> {
    return present((await this.call(this.stubs.auth.getAccount, {})).account);
  }

  /** Opens a session. It has no seats yet: watch it, or join. */
  async createSession(options: SessionOptions = {}): Promise<Session> {
    const request = { gameId: this.game, ...options, requestId: newRequestId() };
    return present((await this.call(this.stubs.sessions.createSession, request)).session);
  }

  /** Sessions of the game that are not over, newest first: all, or those in a state or with a label. */
  async *listSessions(options: ListOptions = {}): AsyncGenerator<Session, void> {
    for (let pageToken = ""; ; ) {
      const request = { gameId: this.game, ...options, pageSize: PAGE, pageToken };
      const page = await this.call(this.stubs.sessions.listSessions, request);
      yield* page.sessions;
      pageToken = page.nextPageToken;
      if (!pageToken) return;
    }
  }

  /** Takes a seat, or keeps the one the caller has. Throws SESSION_FULL, SESSION_STATE. */
  join(sessionId: string, team = 0): Promise<JoinResponse> {
    return this.call(this.stubs.sessions.join, { sessionId, team, requestId: newRequestId() });
  }

  /**
   * Takes a seat in a session, or the one that a match has for the caller, and plays, or with `spectate` only looks on;
   * see WatchedSession.
   */
  watch(session: string | MatchInfo, options: WatchOptions = {}): Promise<WatchedSession> {
    return new WatchedSession(this, session, options).opened();
  }

  /**
   * Looks for a match in a queue, or in several at once; resolves when the ticket waits there. See WatchedTicket.
   *
   * Throws TICKET_ACTIVE for who has a ticket in this game, with its id in `metadata.ticket_id`; PENALISED for who
   * declined a match lately; QUEUE_NOT_FOUND; TypeError for what is no attribute.
   */
  async enqueue(queues: string | readonly string[], options: EnqueueOptions = {}): Promise<WatchedTicket> {
    const request = enqueueRequest(this.game, queues, options);
    return new WatchedTicket(this, request, options.reconnectForMs).entered();
  }

  /**
   * The ticket that the caller has in this game, as after a reload of the page; undefined where there is none. One that
   * has its match counts while the caller has a seat in the session, and can play.
   */
  async ticket(): Promise<WatchedTicket | undefined> {
    try {
      const ticket = present((await this.call(this.stubs.matchmaking.getTicket, { gameId: this.game })).ticket);
      // The platform tells of the last one for a while.
      if (isOver(ticket) && !(await this.#canPlay(ticket.match?.sessionId))) return undefined;
      return await new WatchedTicket(this, ticket.ticketId).entered();
    } catch (failure) {
      const error = fromConnectError(failure);
      if (error.reason === "TICKET_NOT_FOUND" || error.reason === "SESSION_NOT_FOUND") return undefined;
      throw error;
    }
  }

  /** Gives the account's seat up, whichever of its clients plays there; `session.leave` is for its own. */
  async leave(sessionId: string, instanceId = ""): Promise<void> {
    await this.call(this.stubs.sessions.leave, { sessionId, instanceId, requestId: newRequestId() });
  }

  /** Removes a participant, for good unless `mayReturn`. For the session's creator. Throws NOT_OWNER. */
  async kick(sessionId: string, seat: number, options: KickOptions = {}): Promise<void> {
    await this.call(this.stubs.sessions.kick, { sessionId, seat, ...options, requestId: newRequestId() });
  }

  /** States the result: a place per seat, perhaps with scores. Players have to agree. */
  finish(sessionId: string, places: Places, scores: Places = {}): Promise<FinishResponse> {
    const request = { sessionId, result: resultOf(places, scores), requestId: newRequestId() };
    return this.call(this.stubs.sessions.finish, request);
  }

  /** Whether the caller has a seat in a session, which is not over. */
  async #canPlay(sessionId: string | undefined): Promise<boolean> {
    if (sessionId === undefined) return false;
    const session = present((await this.call(this.stubs.sessions.getSession, { sessionId })).session);
    const over = [SessionState.FINISHED, SessionState.DELETED].includes(session.state);
    return !over && session.seats.some(({ userId }) => userId === this.loginInfo?.userId);
  }

  /** Makes any unary call of `stubs`, with the login, a deadline and repeats. Throws OofggError. */
  call<I, O>(method: Unary<I, O>, request: I): Promise<O> {
    return this.caller.call(method, request, { authority: this.#login });
  }
}

type Unary<I, O> = Parameters<typeof Caller.prototype.call<I, O>>[0];

/** A message the platform always sends. */
function present<T>(message: T | undefined): T {
  if (message === undefined) throw new TypeError("the platform answered without what was asked for");
  return message;
}
