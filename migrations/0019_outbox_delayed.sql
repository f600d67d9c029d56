-- no-transaction
-- Scheduled rows by their times, and replayed ones, whose time is that of the replay: the relay's scan leaves them
-- out, so that a backlog of delays costs its other looks nothing.
create index concurrently outbox_delayed on mailroom.outbox (lane, scheduled_at, seq)
    where status = 'pending' and not held and scheduled_at > created_at;
