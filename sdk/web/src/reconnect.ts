// What to do when a stream breaks.
import { Backoff } from "./backoff.js";
import { Code, type OofggError } from "./errors.js";

// What a connection that was cut shows as, when the platform has said nothing.
const CUT = [Code.Canceled, Code.DeadlineExceeded, Code.Internal, Code.Unavailable, Code.Unknown];
// A stream that lasted this long was a good one.
const GOOD_MS = 2_000;
const MOST_RENEWALS = 2;

/** How to open the next stream. */
export interface Retry {
  readonly delayMs: number;
  /** The node to ask for, if another one was named. */
  readonly node?: string;
  /** With a new access token. */
  readonly renew?: boolean;
  /** From the session's current state instead of the last event. */
  readonly restart?: boolean;
}

/** Decides, for one session. Times are of one monotonic clock, in milliseconds. */
export class ReconnectPolicy {
  #backoff = new Backoff();
  #downSince: number | undefined;
  #renewals = 0;

  /** `patienceMs`: time without a stream after which it is given up. */
  constructor(private readonly patienceMs: number) {}

  /** A stream was open for this long. */
  worked(ms: number): void {
    this.#downSince = undefined;
    this.#renewals = 0;
    if (ms >= GOOD_MS) this.#backoff.reset();
  }

  /** What to do after this error. Throws it when there is nothing to be done. */
  next(error: OofggError, now: number): Retry {
    this.#downSince ??= now;
    if (now - this.#downSince > this.patienceMs) throw error;
    const { code, reason } = error;
    if (reason === "WRONG_NODE") {
      const first = this.#backoff.attempts === 0;
      const delayMs = this.#backoff.delay();
      return { delayMs: first ? 0 : delayMs, node: error.metadata["node"] ?? "" };
    }
    if (reason === "TOKEN_EXPIRED" || reason === "TOKEN_INVALID") {
      this.#renewals += 1;
      if (this.#renewals > MOST_RENEWALS) throw error;
      return { delayMs: this.#backoff.delay(), renew: true };
    }
    if (reason === "RESUME_TOO_OLD") return { delayMs: this.#backoff.delay(), restart: true };
    const passing = code === Code.Unavailable || code === Code.ResourceExhausted || reason === "DEADLINE";
    if (passing || (reason === "UNSPECIFIED" && CUT.includes(code))) {
      const delayMs = this.#backoff.delay(error.retryAfterMs);
      // Any node will do: the one that ran the session may be gone.
      return code === Code.Unavailable ? { delayMs, node: "" } : { delayMs };
    }
    throw error;
  }
}
