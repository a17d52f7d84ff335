create table match (
    match_id uuid primary key,
    game_id uuid not null,
    result_state text not null check (result_state in ('agreed', 'disputed', 'stated')),
    label text not null,
    attributes jsonb not null,
    start_time timestamptz,
    finish_time timestamptz not null
);
create index match_page on match (game_id, finish_time desc, match_id desc);

create table participant (
    match_id uuid not null references match on delete cascade,
    seat integer not null,
    game_id uuid not null,
    user_id uuid not null,
    username text not null,
    team integer not null,
    placement integer not null,
    score bigint not null,
    outcome text check (outcome in ('win', 'loss', 'draw')),  -- null: disputed
    finish_time timestamptz not null,
    primary key (match_id, seat)
);
create index participant_page on participant (game_id, user_id, finish_time desc, match_id desc);

-- Sums over the matches that count, per player and game.
create table standing (
    game_id uuid not null,
    user_id uuid not null,
    username text not null,
    wins bigint not null,
    losses bigint not null,
    draws bigint not null,
    score bigint not null,
    update_time timestamptz not null,
    primary key (game_id, user_id)
);
create index standing_wins on standing (game_id, wins desc, losses, user_id);
create index standing_score on standing (game_id, score desc, user_id);
