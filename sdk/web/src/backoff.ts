// Waiting before the next attempt: longer each time, and never the same for two clients.

const FIRST_MS = 100;
const MOST_MS = 2_000;

/** Exponential, with jitter. */
export class Backoff {
  #attempts = 0;

  get attempts(): number {
    return this.#attempts;
  }

  /** Milliseconds to wait now, on top of what the platform asked for: not all clients should come back at once. */
  delay(atLeastMs = 0): number {
    const ceiling = Math.min(MOST_MS, FIRST_MS * 2 ** this.#attempts);
    this.#attempts = Math.min(this.#attempts + 1, 32);
    return atLeastMs + ceiling * (0.25 + 0.75 * Math.random());
  }

  /** Things work again. */
  reset(): void {
    this.#attempts = 0;
  }
}

/** Resolves after this time; rejects with the signal's reason when it is aborted before. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", aborted, { once: true });
    function done(): void {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }
    function aborted(): void {
      clearTimeout(timer);
      reject(signal?.reason);
    }
  });
}
