create table account (
    user_id uuid primary key,
    username text not null,
    username_key text not null unique,  -- case-folded
    email text not null,
    email_key text not null unique,     -- case-folded
    password_hash text not null,
    role text not null check (role in ('player', 'developer', 'admin')),
    create_time timestamptz not null
);

-- A login is what a revocation ends: a session of a person, from Login or Register to Logout.
create table login (
    login_id uuid primary key,
    user_id uuid not null references account on delete cascade,
    game_id text not null,              -- empty for a console login
    create_time timestamptz not null,
    expire_time timestamptz not null,   -- moves on with every refresh
    end_time timestamptz,
    end_reason text
);
create index login_user on login (user_id);

create table refresh_token (
    token_hash bytea primary key,       -- SHA-256
    login_id uuid not null references login on delete cascade,
    create_time timestamptz not null,
    use_time timestamptz
);
create index refresh_token_login on refresh_token (login_id);

create table api_key (
    api_key_id uuid primary key,
    key_hash bytea not null unique,     -- SHA-256
    user_id uuid not null references account on delete cascade,
    game_id text not null,
    name text not null,
    create_time timestamptz not null,
    end_time timestamptz
);
create index api_key_game on api_key (game_id);

-- Every ended login or API key, until Redis has heard of it and the last access token has expired.
create table revocation (
    login_id uuid primary key,
    end_time timestamptz not null,
    published boolean not null default false
);
create index revocation_unpublished on revocation (login_id) where not published;

create table signing_key (
    key_id text primary key,
    sealed_key bytea not null,          -- PKCS #8 under the master key
    create_time timestamptz not null
);

create table reply (
    caller text not null,
    rpc text not null,
    request_id text not null,
    digest bytea not null,
    response bytea not null,            -- sealed: it holds tokens and keys
    create_time timestamptz not null default now(),
    primary key (caller, rpc, request_id)
);
create index reply_age on reply (create_time);
