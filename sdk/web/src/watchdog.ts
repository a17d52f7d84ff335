// Noticing that nothing comes any more.

/** Calls `bark` once when what is expected does not come in time. */
export class Watchdog {
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly bark: () => void) {}

  /** Something has come; the next is due within this time. */
  expect(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.bark, ms);
  }

  /** Nothing is expected any more. */
  rest(): void {
    clearTimeout(this.#timer);
  }
}
