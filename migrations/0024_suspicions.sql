-- A host that was buried may live: it was cut off for longer than its expiry. What its death was counted against is
-- noted, and taken back when it comes again.

-- Lives that were ended by others, for a day.
create table mailroom.buried_host (
    session    uuid primary key,
    worker     text not null,
    buried_at  timestamptz not null default clock_timestamp()
);

-- Messages that a buried host may have had running, each counted in the row's `crashes`.
create table mailroom.suspicion (
    session  uuid not null references mailroom.buried_host on delete cascade,
    lane     integer not null,
    seq      bigint not null,
    primary key (session, lane, seq)
);
