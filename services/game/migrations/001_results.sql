-- One row per session that ended with a result, and what is published about it.
create table result (
    session_id uuid primary key,
    game_id uuid not null,
    state text not null check (state in ('AGREED', 'DISPUTED', 'STATED')),
    -- [[seat, team, placement, score], ...] by seat; null when disputed.
    seats jsonb,
    start_time timestamptz,
    finish_time timestamptz not null,
    check ((state = 'DISPUTED') = (seats is null))
);

create index result_of_game on result (game_id, finish_time);

create table outbox (event_id uuid not null, topic text not null, number bigint, key text not null, type text not null, payload bytea not null,
  occur_time timestamptz not null, insert_id bigint generated always as identity, primary key (event_id, topic), unique (topic, number));
create index outbox_unnumbered on outbox (insert_id) where number is null;
