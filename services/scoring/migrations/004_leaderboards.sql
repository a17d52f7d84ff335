-- Leaderboards that developers define: see docs/architecture/leaderboards.md.
create table leaderboard (
    leaderboard_id uuid primary key,
    game_id uuid not null,
    name text not null,
    description text not null,
    ascending boolean not null,
    operator text not null check (operator in ('best', 'last', 'sum', 'increment')),
    window_kind text not null check (window_kind in ('all_time', 'daily', 'weekly', 'monthly', 'cron')),
    time_zone text not null,
    cron text not null,
    submitters text not null check (submitters in ('players', 'servers', 'results')),
    min_score bigint,
    max_score bigint,
    max_attempts integer not null,
    kept_windows integer not null,
    version integer not null,
    create_time timestamptz not null,
    update_time timestamptz not null,
    delete_time timestamptz
);
create unique index leaderboard_name on leaderboard (game_id, name) where delete_time is null;
create index leaderboard_deleted on leaderboard (delete_time) where delete_time is not null;

-- The windows in which somebody has played.
create table leaderboard_window (
    leaderboard_id uuid not null,
    window_start timestamptz not null,
    window_end timestamptz,  -- null: never
    archive_time timestamptz,
    entries bigint not null default 0,  -- as counted then
    primary key (leaderboard_id, window_start)
);
create index leaderboard_window_open on leaderboard_window (window_end) where archive_time is null;

-- Orders all changes of values: a later one has a larger turn.
create sequence leaderboard_turn;

-- `place` sorts entries as they rank; services/scoring/leaderboards/places.py says the same. No foreign key: an entry
-- written while its leaderboard is being deleted is swept with the others.
create table leaderboard_entry (
    user_id uuid not null,
    leaderboard_id uuid not null,
    window_start timestamptz not null,
    update_time timestamptz not null,
    score bigint not null,
    subscore bigint not null,
    turn bigint not null,
    attempts integer not null,
    ascending boolean not null,
    username text not null,
    metadata text not null,
    place bytea not null generated always as (
        int8send((case when ascending then score else ~score end) # (-9223372036854775808)::bigint)
        || int8send((case when ascending then subscore else ~subscore end) # (-9223372036854775808)::bigint)
        || int8send(turn # (-9223372036854775808)::bigint)
    ) stored,
    primary key (user_id, leaderboard_id, window_start)
) with (fillfactor = 85);
create index leaderboard_entry_place on leaderboard_entry (leaderboard_id, window_start, place);

-- What Redis has to be told: one row per transaction that wrote entries, kept for a while after it was.
create table leaderboard_change (
    change_id bigint generated always as identity primary key,
    create_time timestamptz not null default now(),
    due_time timestamptz not null,  -- until then its writer may be about to tell it
    applied boolean not null default false,
    leaderboard_ids uuid[] not null,
    window_starts timestamptz[] not null,
    user_ids uuid[] not null
);
create index leaderboard_change_due on leaderboard_change (due_time) where not applied;
create index leaderboard_change_age on leaderboard_change (create_time);

-- Redis servers, by run id, that have been told all recent changes.
create table leaderboard_redis (
    run_id text primary key,
    see_time timestamptz not null default now()
);

-- Replies to requests with an id: see pkg/db/replies.py.
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
