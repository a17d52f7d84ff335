alter table game
    add column single_login boolean not null default false,
    -- What an admin set; 0 stands for the platform's default.
    add column quota_players bigint not null default 0,
    add column quota_sessions bigint not null default 0,
    add column quota_calls_per_second integer not null default 0;
