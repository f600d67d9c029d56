-- no-transaction
-- Held rows by their places: one of them when it is settled, and the first of a lane.
create index concurrently inbox_held_first on mailroom.inbox (lane, seq) where held;
