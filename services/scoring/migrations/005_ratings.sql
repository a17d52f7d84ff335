-- Ratings per game and queue, how queues rate, and what each match did; matches are published for developers from here,
-- because only here is it known.
create table rating_rules (
    game_id uuid not null,
    queue text not null,
    mu double precision not null,
    sigma double precision not null,
    beta double precision not null,
    tau double precision not null,
    provisional_matches integer not null,
    primary key (game_id, queue)
);

create table rating (
    game_id uuid not null,
    queue text not null,
    user_id uuid not null,
    mu double precision not null,
    sigma double precision not null,
    matches bigint not null,
    update_time timestamptz,
    primary key (game_id, queue, user_id)
);
create index rating_user on rating (user_id);

alter table match add column queue text not null default '';

create table rating_change (
    match_id uuid not null references match on delete cascade,
    seat integer not null,
    mu_before double precision not null,
    sigma_before double precision not null,
    mu_after double precision not null,
    sigma_after double precision not null,
    matches_after bigint not null,
    provisional_before boolean not null,
    provisional_after boolean not null,
    primary key (match_id, seat)
);

create table outbox (
    event_id uuid not null,
    topic text not null,
    number bigint,
    key text not null,
    type text not null,
    payload bytea not null,
    occur_time timestamptz not null,
    trace_parent text,
    insert_id bigint generated always as identity,
    primary key (event_id, topic),
    unique (topic, number)
);
create index outbox_unnumbered on outbox (insert_id) where number is null;
