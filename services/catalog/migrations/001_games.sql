create table game (
    game_id uuid primary key,
    name text not null,
    description text not null,
    owner_user_id uuid not null,
    max_seats integer not null check (max_seats between 1 and 512),
    match_history_topic_disabled boolean not null,
    create_time timestamptz not null,
    update_time timestamptz not null,
    delete_time timestamptz
);
create unique index game_name on game (owner_user_id, name) where delete_time is null;
create index game_page on game (create_time desc, game_id desc) where delete_time is null;
create index game_owner_page on game (owner_user_id, create_time desc, game_id desc) where delete_time is null;

-- Kafka topics that belong to games. The broker may be away when a game is made; they are created when it is back.
create table topic (
    name text primary key,
    game_id uuid not null references game,
    create_time timestamptz           -- null until the broker has it
);
create index topic_missing on topic (name) where create_time is null;

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
