// The login of a client: tokens, renewed before they expire, by one call at a time.
import type { Client as Stub } from "@connectrpc/connect";

import type { Authority, Caller } from "./calls.js";
import { Code, OofggError } from "./errors.js";
import { Role, type AuthService } from "./gen/oofgg/v1/auth_pb.js";

// A token is renewed when it has less than this left, or a fifth of its life if that is less.
const AHEAD_MS = 60_000;

/** Who is logged in. `gameId` is empty for a console login. */
export interface Login {
  readonly userId: string;
  readonly role: Role;
  readonly gameId: string;
}

/** Where a login outlives a reload of the page, such as `sessionStorage`. */
export type LoginStorage = Pick<Storage, "getItem" | "setItem" | "removeItem">;

interface Tokens {
  access: string;
  refresh: string;
}

interface Answer {
  userId: string;
  accessToken: string;
  refreshToken: string;
  expiresIn: number;
  role: Role;
}

/** Holds the tokens of at most one login. */
export class LoginKeeper implements Authority {
  login: Login | undefined;
  #tokens: Tokens | undefined;
  // By the clock of performance.now(). A stored token's age is not known: the platform says when it has expired.
  #renewAt = Infinity;
  #expires = Infinity;
  #renewal: Promise<void> | undefined;

  constructor(
    private readonly auth: Stub<typeof AuthService>,
    private readonly caller: Caller,
    private readonly storage: LoginStorage | undefined,
    private readonly key: string,
  ) {
    const kept = storage?.getItem(key);
    if (kept) [this.login, this.#tokens] = read(kept);
  }

  /** Takes the tokens of a new login. */
  accept(answer: Answer, gameId: string): Login {
    this.login = { userId: answer.userId, role: answer.role, gameId };
    this.#keep(answer);
    return this.login;
  }

  /** Nobody is logged in any more. */
  forget(): void {
    this.#tokens = undefined;
    this.login = undefined;
    this.storage?.removeItem(this.key);
  }

  async authorization(): Promise<string> {
    const now = performance.now();
    if (this.#tokens && now >= this.#renewAt) {
      try {
        await this.#renew();
      } catch (error) {
        const later = error instanceof OofggError && [Code.Unavailable, Code.DeadlineExceeded].includes(error.code);
        if (!later || now >= this.#expires) throw error;
      }
    }
    return this.#header();
  }

  async renewed(refused: string): Promise<string> {
    if (refused === this.#header()) await this.#renew(); // else somebody was quicker
    return this.#header();
  }

  ended(refused: string): void {
    if (refused === this.#header()) this.forget();
  }

  #header(): string {
    return this.#tokens ? `Bearer ${this.#tokens.access}` : "";
  }

  #renew(): Promise<void> {
    this.#renewal ??= this.#refresh().finally(() => (this.#renewal = undefined));
    return this.#renewal;
  }

  async #refresh(): Promise<void> {
    const old = this.#tokens;
    if (!old) return;
    try {
      const answer = await this.caller.call(this.auth.refreshToken, { refreshToken: old.refresh }, {});
      if (this.#tokens === old) this.#keep(answer); // not logged out meanwhile
    } catch (error) {
      // The login is over; what is left of the access token does not outlive it.
      if (error instanceof OofggError && error.code === Code.Unauthenticated && this.#tokens === old) this.forget();
      throw error;
    }
  }

  #keep(answer: Answer): void {
    const life = answer.expiresIn * 1_000;
    this.#tokens = { access: answer.accessToken, refresh: answer.refreshToken };
    this.#expires = performance.now() + life;
    this.#renewAt = this.#expires - Math.min(AHEAD_MS, life / 5);
    this.storage?.setItem(this.key, JSON.stringify({ login: this.login, tokens: this.#tokens }));
  }
}

function read(kept: string): [Login, Tokens] | [undefined, undefined] {
  try {
    const { login, tokens } = JSON.parse(kept) as { login: Login; tokens: Tokens };
    return tokens.access && tokens.refresh ? [login, tokens] : [undefined, undefined];
  } catch {
    return [undefined, undefined]; // not ours
  }
}
