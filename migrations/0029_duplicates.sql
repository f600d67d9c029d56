-- Takes the place of the index by id and group alone. Hosts of the version before name that one where they store
-- records: they store nothing from here on, and wait until they are replaced.
alter table mailroom.inbox replica identity using index inbox_identity;
drop index mailroom.inbox_dedup;

-- Records that were dropped since their handler had their id already: how many, and when the last one was.
alter table mailroom.lane add column duplicates bigint not null default 0, add column duplicated_at timestamptz;

-- The last hundred of them of each lane, for people: which record, and which one was first.
create table mailroom.duplicate (
    lane             integer not null references mailroom.lane (id) on delete cascade,
    -- The lane's count before it, modulo 100.
    slot             smallint not null check (slot between 0 and 99),
    consumer_group   text not null,
    message_id       text not null,
    topic            text not null,
    source           text not null,
    event_type       text not null,
    partition        integer not null,
    "offset"         bigint not null,
    first_partition  integer not null,
    first_offset     bigint not null,
    first_stored_at  timestamptz not null,
    -- Whether key and payload are those of the first one.
    same_content     boolean not null,
    dropped_at       timestamptz not null default clock_timestamp(),
    primary key (lane, slot)
);
