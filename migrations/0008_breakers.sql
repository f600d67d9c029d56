-- Circuit breakers that are open, one row a handler; a closed one has none. All hosts read them: open
-- means that nothing of the handler is started anywhere, but for one probe at a time once the pause is over.
create table mailroom.breaker (
    consumer_group  text primary key,
    -- Nothing starts before; whoever claims the probe then moves it on.
    paused_until    timestamptz not null,
    opened_at       timestamptz not null default clock_timestamp(),
    opened_by       text not null,
    last_error      text not null check (octet_length(last_error) <= 2000)
) with (fillfactor = 50);
