-- no-transaction
-- Held rows by their times: those that wait for a retry, and those that an operator replayed. Empty where nothing
-- waits.
create index concurrently inbox_due on mailroom.inbox (lane, scheduled_at, seq) where held and wakes;
