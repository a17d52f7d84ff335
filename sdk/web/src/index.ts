// The browser client of oofgg. Everything public is named here.
export {
  Client,
  type ClientOptions,
  type KickOptions,
  type ListOptions,
  type SessionOptions,
  type Stubs,
} from "./client.js";
export { Code, fromConnectError, OofggError, type FieldViolation, type Reason } from "./errors.js";
export { type Login, type LoginStorage } from "./login.js";
export { json, text } from "./payload.js";
export { type Places } from "./results.js";
export { WatchedTicket, type Attribute, type EnqueueOptions, type PlayerInfo } from "./ticket.js";
export { WatchedSession, type SendOptions, type WatchOptions } from "./watch.js";
export { Role, type Account } from "./gen/oofgg/v1/auth_pb.js";
export { TicketReason, TicketState, type MatchInfo, type Ticket } from "./gen/oofgg/v1/matchmaking_pb.js";
export {
  DeliveryClass,
  PresenceChange,
  ResultState,
  SessionState,
  type Event,
  type Message,
  type Seat,
  type Session,
} from "./gen/oofgg/v1/session_pb.js";
