// Unary calls: a deadline on each, repeated while the platform cannot be reached, failing with OofggError.
import { Code, type CallOptions } from "@connectrpc/connect";

import { Backoff, sleep } from "./backoff.js";
import { fromConnectError } from "./errors.js";

const NODE_HEADER = "x-oofgg-node";
const MOST_NODES = 3;
// Who sends too much waits for as long as the platform says, once in a call, and no longer than this.
const LONGEST_WAIT_MS = 10_000;
const WAIT_JITTER_MS = 100;

/** Where the header with the access token comes from. */
export interface Authority {
  /** The header to send; empty when nobody is logged in. */
  authorization(): Promise<string>;
  /** The header with a new token, after the platform refused this one. */
  renewed(refused: string): Promise<string>;
  /** The login behind this header is over. */
  ended(refused: string): void;
}

export interface CallRules {
  /** Whose token travels along; none for what everybody may call. */
  authority?: Authority | undefined;
  /** The node to ask for. */
  node?: string;
  /** Gives the call up. */
  signal?: AbortSignal;
}

/** Makes unary calls. */
export class Caller {
  /** `timeoutMs` is for a call with all its repeats. */
  constructor(readonly timeoutMs: number) {}

  /**
   * The response. Throws OofggError.
   *
   * UNAVAILABLE is repeated, and WRONG_NODE: every change that is not idempotent by nature carries a request id.
   * RATE_LIMITED, with which nothing has happened, is waited out once, if the time for the call allows.
   */
  async call<I, O>(method: (request: I, options: CallOptions) => Promise<O>, request: I, rules: CallRules): Promise<O> {
    const deadline = performance.now() + this.timeoutMs;
    const backoff = new Backoff();
    let node = rules.node ?? "";
    let nodes = 0;
    let renewed = false;
    let waited = false;
    for (;;) {
      const authorization = (await rules.authority?.authorization()) ?? "";
      try {
        // Whole milliseconds: gRPC knows no others.
        const timeoutMs = Math.max(1, Math.ceil(deadline - performance.now()));
        const options = { headers: headersOf(authorization, node), timeoutMs };
        return await method(request, rules.signal ? { ...options, signal: rules.signal } : options);
      } catch (failure) {
        const error = fromConnectError(failure);
        if (error.reason === "WRONG_NODE") {
          const named = error.metadata["node"] ?? "";
          nodes += 1;
          // One that was asked for and did not answer is gone, until another owns what it ran.
          const delay = named !== node && nodes <= MOST_NODES ? 0 : backoff.delay(error.retryAfterMs);
          if (performance.now() + delay >= deadline) throw error;
          node = named;
          await sleep(delay, rules.signal);
        } else if (error.reason === "TOKEN_EXPIRED" && rules.authority && !renewed) {
          await rules.authority.renewed(authorization);
          renewed = true;
        } else if (error.reason === "RATE_LIMITED" && error.retryAfterMs && !waited) {
          waited = true;
          const delay = error.retryAfterMs + Math.random() * WAIT_JITTER_MS;
          if (delay > Math.min(LONGEST_WAIT_MS, deadline - performance.now())) throw error;
          await sleep(delay, rules.signal);
        } else if (error.code === Code.Unavailable) {
          const delay = backoff.delay(error.retryAfterMs);
          if (performance.now() + delay >= deadline) throw error;
          await sleep(delay, rules.signal);
        } else {
          if (error.reason === "TOKEN_REVOKED") rules.authority?.ended(authorization);
          throw error;
        }
      }
    }
  }
}

/** The headers of a call. */
export function headersOf(authorization: string, node: string): Headers {
  const headers = new Headers();
  if (authorization) headers.set("authorization", authorization);
  if (node) headers.set(NODE_HEADER, node);
  return headers;
}

/** An id under which a change happens once, however often it is sent. */
export function newRequestId(): string {
  // randomUUID is not there on pages without TLS.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
