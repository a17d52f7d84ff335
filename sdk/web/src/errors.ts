// What a call can fail with: a gRPC code, and the reason to branch on.
import { fromBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

import { BadRequestSchema, ErrorInfoSchema, ErrorReason, RetryInfoSchema } from "./gen/oofgg/v1/errors_pb.js";

export { Code };

/** Why a call failed, such as `SESSION_FULL`. UNSPECIFIED: the platform said nothing, as when a connection drops. */
export type Reason = keyof typeof ErrorReason;

/** A refused field: its path, such as `result.seats[1].placement`, and what is wrong with its value. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

/** A call or a stream failed. Branch on `code` and `reason`, never on the text. */
export class OofggError extends Error {
  override readonly name = "OofggError";

  constructor(
    readonly code: Code,
    readonly reason: Reason,
    message: string,
    /** Facts about the failure, such as `node`. */
    readonly metadata: Readonly<Record<string, string>> = {},
    readonly violations: readonly FieldViolation[] = [],
    /** Milliseconds after which trying again makes sense; undefined when the platform named none. */
    readonly retryAfterMs?: number,
  ) {
    super(message);
  }

  /** What to quote to the operator; empty when unknown. */
  get requestId(): string {
    return this.metadata["request_id"] ?? "";
  }
}

/** The typed error behind a failed call, for who uses `client.stubs`. */
export function fromConnectError(failure: unknown): OofggError {
  if (failure instanceof OofggError) return failure;
  const error = ConnectError.from(failure);
  if (error.cause instanceof TypeError) {
    // All that a browser tells of a refused connection, a dropped one, and an origin that may not call.
    return new OofggError(
      Code.Unavailable,
      "UNSPECIFIED",
      `The platform cannot be reached, or does not let pages of this origin call it (${error.rawMessage}).`,
    );
  }
  const info = detail(error, "ErrorInfo", ErrorInfoSchema);
  const delay = detail(error, "RetryInfo", RetryInfoSchema)?.retryDelay;
  const metadata = { ...info?.metadata };
  const requestId = error.metadata.get("x-request-id");
  if (requestId !== null) metadata["request_id"] ??= requestId;
  return new OofggError(
    error.code,
    info !== undefined && info.reason in ErrorReason ? (info.reason as Reason) : "UNSPECIFIED",
    error.rawMessage,
    metadata,
    detail(error, "BadRequest", BadRequestSchema)?.fieldViolations ?? [],
    delay && Number(delay.seconds) * 1_000 + delay.nanos / 1_000_000,
  );
}

function detail<D extends DescMessage>(error: ConnectError, name: string, schema: D): MessageShape<D> | undefined {
  for (const found of error.details) {
    if ("type" in found && found.type === `google.rpc.${name}`) {
      try {
        return fromBinary(schema, found.value);
      } catch {
        return undefined;
      }
    }
  }
  return undefined;
}
