-- When somebody asked for a record to be applied once more, and why it could not be the last time.
alter table dead_letter add column replay_time timestamptz;
create index dead_letter_replay on dead_letter (topic, dead_letter_id) where replay_time is not null;
