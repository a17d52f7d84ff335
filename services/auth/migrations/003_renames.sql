-- Accounts whose name has changed, until no access token with the old name is left: see pkg/auth/revocations.py.
create table renamed (
    user_id uuid primary key references account on delete cascade,
    username text not null,
    rename_time timestamptz not null,
    published boolean not null default false
);
create index renamed_unpublished on renamed (user_id) where not published;
