create table queue (
    game_id uuid not null,
    name text not null,
    version integer not null check (version > 0),
    definition bytea not null,        -- oofgg.v1.Queue, without zeros
    create_time timestamptz not null,
    update_time timestamptz not null,
    primary key (game_id, name)
);

create table reply (
    caller text not null,
    rpc text not null,
    request_id text not null,
    digest bytea not null,
    response bytea not null,
    create_time timestamptz not null default now(),
    primary key (caller, rpc, request_id)
);
create index reply_age on reply (create_time);

create table outbox (event_id uuid not null, topic text not null, number bigint, key text not null, type text not null,
  payload bytea not null, occur_time timestamptz not null, trace_parent text,
  insert_id bigint generated always as identity, primary key (event_id, topic), unique (topic, number));
create index outbox_unnumbered on outbox (insert_id) where number is null;
