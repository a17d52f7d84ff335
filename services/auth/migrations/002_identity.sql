-- Guests have neither an email address nor a password.
alter table account
    alter column email drop not null,
    alter column email_key drop not null,
    alter column password_hash drop not null,
    add column display_name text not null default '',
    add column avatar_url text not null default '',
    add column language text not null default '';

-- Devices that log in as guests.
create table device (
    device_hash bytea primary key,      -- SHA-256 of its secret
    user_id uuid not null references account on delete cascade,
    create_time timestamptz not null,
    use_time timestamptz not null
);
create index device_user on device (user_id);

-- Ids that were used once and never are again.
create table deleted_account (
    user_id uuid primary key,
    delete_time timestamptz not null
);

alter table login
    add column refresh_time timestamptz,
    add column address text not null default '',
    add column client text not null default '';
create index login_open on login (user_id, create_time desc, login_id) where end_time is null;

-- Replaced before it was used: its holder lost the reply that brought it, or a thief has it.
alter table refresh_token add column void boolean not null default false;

alter table revocation add column reason text not null default 'TOKEN_REVOKED';

alter table api_key
    add column prefix text not null default '',
    add column expire_time timestamptz,
    add column use_time timestamptz;

-- A key is published before it signs.
alter table signing_key add column activate_time timestamptz;
update signing_key set activate_time = create_time;
alter table signing_key alter column activate_time set not null;

-- Who has ever logged in to which game, and how many that are.
create table game_player (
    game_id text not null,
    user_id uuid not null references account on delete cascade,
    create_time timestamptz not null,
    primary key (game_id, user_id)
);
create index game_player_user on game_player (user_id);
create table game_population (
    game_id text primary key,
    players bigint not null
);

create table outbox (
    event_id uuid not null, topic text not null, number bigint, key text not null, type text not null,
    payload bytea not null, occur_time timestamptz not null, trace_parent text,
    insert_id bigint generated always as identity, primary key (event_id, topic), unique (topic, number));
create index outbox_unnumbered on outbox (insert_id) where number is null;
