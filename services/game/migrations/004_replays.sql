-- The event log of finished sessions, for a while.
create table replay (
    session_id uuid primary key,
    game_id uuid not null,
    -- [[seat, user id, number of the event from which on the seat is theirs], ...]
    seats jsonb not null,
    first_seq bigint not null,
    log bytea not null,  -- zlib: joined events, as PlayResponse has them
    expire_time timestamptz not null
);
create index replay_age on replay (expire_time);
