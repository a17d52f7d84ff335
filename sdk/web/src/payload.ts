// What games send each other, as bytes and back.
import type { Message } from "./gen/oofgg/v1/session_pb.js";

/** Bytes as they are, text as UTF-8, anything else as JSON. */
export function encode(payload: unknown): Uint8Array<ArrayBuffer> {
  if (payload instanceof Uint8Array) return new Uint8Array(payload);
  return new TextEncoder().encode(typeof payload === "string" ? payload : JSON.stringify(payload));
}

/** The payload as text. Throws TypeError when it is none. */
export function text(message: Message): string {
  return new TextDecoder("utf-8", { fatal: true }).decode(message.payload);
}

/** The payload as JSON. Throws when it is none. */
export function json(message: Message): unknown {
  return JSON.parse(text(message));
}
