-- The span in which an event happened, where calls are traced.
alter table outbox add column trace_parent text;
