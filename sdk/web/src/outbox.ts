// What a participant has to send: numbered in the order it leaves, kept until it is safe where that was asked for.
import { create } from "@bufbuild/protobuf";

import { CommandSchema, DeliveryClass, type Command } from "./gen/oofgg/v1/session_pb.js";

// Bounds of what waits here, and of one request.
const MOST_COMMANDS = 256;
const MOST_BYTES = 1 << 20;
const BATCH_COMMANDS = 256;
const BATCH_BYTES = 128 * 1024;
const MOST_KEYS = 256;
const MOST_VOLATILE = 64;

/**
 * Commands of one seat, over all its streams.
 *
 * RELIABLE commands stay until acknowledged and leave again, under the same numbers, on the next stream. Of LATEST only
 * the newest per key is kept, VOLATILE only while it can leave at once.
 */
export class Outbox {
  #number = 0n;
  #waiting: Command[] = []; // reliable, without a number yet
  #sent: Command[] = []; // reliable, not acknowledged
  #again: Command[] = []; // of those: to be sent on this stream as well
  #bytes = 0;
  #latest = new Map<string, Command>();
  #changed = new Set<string>(); // keys with a value to be sent
  #volatile: Command[] = [];

  /** Reliable commands that are not acknowledged. */
  get unsafe(): number {
    return this.#waiting.length + this.#sent.length;
  }

  /** Whether a reliable command of this many bytes may be added. */
  hasRoom(bytes: number): boolean {
    return this.unsafe === 0 || (this.unsafe < MOST_COMMANDS && this.#bytes + bytes <= MOST_BYTES);
  }

  /** Adds a command, for everybody or for some. For a reliable one, ask for room first. */
  put(
    payload: Uint8Array<ArrayBuffer>,
    kind: string,
    delivery: DeliveryClass,
    key: string,
    toSeats: number[] = [],
    toTeam = 0,
  ): void {
    const command = create(CommandSchema, { payload, kind, delivery, key, toSeats, toTeam });
    if (delivery === DeliveryClass.RELIABLE) {
      this.#waiting.push(command);
      this.#bytes += payload.length;
    } else if (delivery === DeliveryClass.LATEST) {
      this.#latest.delete(key); // the newest value goes to the end
      this.#latest.set(key, command);
      this.#changed.add(key);
      if (this.#latest.size > MOST_KEYS) {
        const [oldest = ""] = this.#latest.keys();
        this.#latest.delete(oldest);
        this.#changed.delete(oldest);
      }
    } else {
      this.#volatile.push(command);
      if (this.#volatile.length > MOST_VOLATILE) this.#volatile.shift();
    }
  }

  /** The next commands to send in one request; none when there is nothing to send. */
  take(): Command[] {
    const batch: Command[] = [];
    let bytes = 0;
    while (batch.length < BATCH_COMMANDS && bytes < BATCH_BYTES) {
      const command = this.#next();
      if (!command) break;
      batch.push(command);
      bytes += command.payload.length;
    }
    return batch;
  }

  /** Reliable commands up to this number are safe. */
  acknowledge(number: bigint): void {
    while (this.#sent[0] && this.#sent[0].number <= number) {
      this.#bytes -= this.#sent.shift()?.payload.length ?? 0;
    }
  }

  /** A new stream has begun; the server has accepted reliable commands up to this number. */
  reopen(accepted: bigint): void {
    this.acknowledge(accepted);
    if (accepted > this.#number) this.#number = accepted;
    this.#again = [...this.#sent];
    this.#changed = new Set(this.#latest.keys());
    this.#volatile = [];
  }

  #next(): Command | undefined {
    for (let again = this.#again.shift(); again; again = this.#again.shift()) {
      if (this.#sent.includes(again)) return again;
    }
    const reliable = this.#waiting.shift();
    if (reliable) {
      this.#sent.push(this.#numbered(reliable));
      return reliable;
    }
    const [key] = this.#changed;
    if (key !== undefined) {
      this.#changed.delete(key);
      const latest = this.#latest.get(key);
      return latest && this.#numbered(latest);
    }
    const fleeting = this.#volatile.shift();
    return fleeting && this.#numbered(fleeting);
  }

  #numbered(command: Command): Command {
    this.#number += 1n;
    command.number = this.#number;
    return command;
  }
}
