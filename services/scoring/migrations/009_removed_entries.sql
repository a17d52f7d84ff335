-- When the entries of a change were removed, the turn of that: whatever has a lower one was there before. Null: they were
-- written.
alter table leaderboard_change add column turn bigint;
