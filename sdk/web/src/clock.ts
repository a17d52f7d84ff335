// How far the platform's clock is ahead of this one's.

const KEPT = 8;

interface Measured {
  tripMs: number;
  offsetMs: number;
}

/** Of the last measurements the one with the shortest round trip counts: it is right to within half of that. */
export class ClockOffset {
  #measured: Measured[] = [];

  /** Milliseconds by which the platform's clock is ahead; undefined before the first measurement. */
  get estimate(): number | undefined {
    if (!this.#measured.length) return undefined;
    return this.#measured.reduce((best, each) => (each.tripMs < best.tripMs ? each : best)).offsetMs;
  }

  /** A call took this long and ended at `now`; the platform's clock showed `server` meanwhile. All in milliseconds. */
  add(tripMs: number, server: number, now: number): void {
    this.#measured.push({ tripMs, offsetMs: server - (now - tripMs / 2) });
    if (this.#measured.length > KEPT) this.#measured.shift();
  }
}
