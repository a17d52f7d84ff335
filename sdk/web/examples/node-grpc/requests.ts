// The sending half of a stream: what is put in comes out in order, and never grows without bound.

const MOST_WAITING = 256;

export class Requests<T> implements AsyncIterable<T> {
  #waiting: T[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  /** Throws when the connection takes nothing any more. */
  put(request: T): void {
    if (this.#waiting.length === MOST_WAITING) throw new Error("the platform does not take requests any more");
    this.#waiting.push(request);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      const request = this.#waiting.shift();
      if (request !== undefined) yield request;
      else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
