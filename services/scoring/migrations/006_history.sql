-- The game's own figures; and the order in which matches were taken in, for those who watch: by transaction, and within it by
-- number. Only transactions before all that are still open can be told of, for no earlier one can come any more.
alter table participant add column stats jsonb;
alter table match add column number bigint generated always as identity;
alter table match add column transaction xid8 not null default pg_current_xact_id();
create index match_watch on match (game_id, transaction, number);
