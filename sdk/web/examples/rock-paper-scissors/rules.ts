// Rock-paper-scissors, best of three. The same rules as sdk/examples/rock_paper_scissors.py: a page and a Python player
// can play each other. They know nothing of networks, and every player computes the same match from the same throws.

export const HANDS = ["rock", "paper", "scissors"] as const;
export type Hand = (typeof HANDS)[number];

const BEATS: Record<Hand, Hand> = { rock: "scissors", paper: "rock", scissors: "paper" };
const WINS_NEEDED = 2;

/** A round that both players have thrown for; `winner` is undefined when the hands are equal. */
export interface Round {
  readonly number: number;
  readonly hands: ReadonlyMap<number, Hand>;
  readonly winner: number | undefined;
}

/** A match between two seats. Throws may come in any order and more than once; the first counts. */
export class Match {
  readonly rounds: Round[] = [];
  #thrown = new Map<number, Hand>();

  constructor(readonly seats: readonly [number, number]) {}

  /** The round being thrown for, from 1. */
  get number(): number {
    return this.rounds.length + 1;
  }

  /** Rounds won, by seat. */
  get score(): Record<number, number> {
    return Object.fromEntries(this.seats.map((seat) => [seat, this.#won(seat)]));
  }

  /** The seat that has won the match, once one has. */
  get winner(): number | undefined {
    return this.seats.find((seat) => this.#won(seat) === WINS_NEEDED);
  }

  /** A place per seat. */
  get places(): Record<number, number> {
    return Object.fromEntries(this.seats.map((seat) => [seat, seat === this.winner ? 1 : 2]));
  }

  /** Takes a throw; returns the round it completes, if it does. */
  throw(seat: number, number: number, hand: Hand): Round | undefined {
    if (!this.seats.includes(seat) || number !== this.number || this.winner !== undefined) return undefined;
    if (!this.#thrown.has(seat)) this.#thrown.set(seat, hand);
    const [one, two] = this.seats;
    const [left, right] = [this.#thrown.get(one), this.#thrown.get(two)];
    if (!left || !right) return undefined;
    const winner = BEATS[left] === right ? one : BEATS[right] === left ? two : undefined;
    const round = { number, hands: this.#thrown, winner };
    this.#thrown = new Map();
    this.rounds.push(round);
    return round;
  }

  #won(seat: number): number {
    return this.rounds.filter((round) => round.winner === seat).length;
  }
}

/** A throw as players send it, checked: what came may be anything. */
export function readThrow(sent: unknown): { round: number; hand: Hand } | undefined {
  if (typeof sent !== "object" || sent === null || !("round" in sent && "hand" in sent)) return undefined;
  const hand = HANDS.find((known) => known === sent.hand);
  return typeof sent.round === "number" && hand ? { round: sent.round, hand } : undefined;
}
