-- A match stays in the history of those who played it with somebody who deleted their account: without the name, and under
-- an id that leads to nobody.
create table forgotten (
    user_id uuid primary key,
    delete_time timestamptz not null
);
create index participant_user on participant (user_id);
create index standing_user on standing (user_id);
