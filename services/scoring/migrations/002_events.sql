-- How far the topics have been read, and by whom: see pkg/events/positions.py.
create table position (
    topic text not null,
    partition integer not null,
    next_offset bigint not null default 0,
    seen_number bigint not null default 0,
    holder text,
    lease_until timestamptz,
    primary key (topic, partition)
);

create table position_reader (
    topic text not null,
    holder text not null,
    seen_time timestamptz not null,
    primary key (topic, holder)
);

create table applied_event (
    topic text not null,
    event_id uuid not null,
    apply_time timestamptz not null default now(),
    primary key (topic, event_id)
);
create index applied_event_age on applied_event (apply_time);

-- Records that could not be applied, with the reason.
create table dead_letter (
    dead_letter_id bigint generated always as identity primary key,
    topic text not null,
    partition integer not null,
    record_offset bigint not null,
    key bytea,
    value bytea,
    headers jsonb not null,
    reason text not null,
    create_time timestamptz not null default now()
);
