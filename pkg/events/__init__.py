"""Events between services and to subscribers: outbox, relay, topics, projections."""
