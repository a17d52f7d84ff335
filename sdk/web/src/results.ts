// Results as games state them.
import type { MessageInitShape } from "@bufbuild/protobuf";

import type { ResultSchema } from "./gen/oofgg/v1/session_pb.js";

/** A number per seat: `{1: 1, 2: 2}` as places says that seat 1 won. */
export type Places = Readonly<Record<number, number>>;

/** The result on the wire. */
export function resultOf(places: Places, scores: Places): MessageInitShape<typeof ResultSchema> {
  const seats = Object.entries(places).map(([seat, placement]) => {
    return { seat: Number(seat), placement, score: BigInt(scores[Number(seat)] ?? 0) };
  });
  return { seats };
}
