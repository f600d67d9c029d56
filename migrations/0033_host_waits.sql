-- What a host waits for beside messages, as it said with its last heartbeat: a list of what, why and since. Only people
-- read it.
alter table mailroom.host add column waits jsonb not null default '[]';
