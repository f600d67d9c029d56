-- Keys behind a dead letter whose handler asks for more than going on: under `block` their followers wait,
-- under `park` these become dead letters themselves, until the letter is replayed or discarded.
create table mailroom.blocked_key (
    lane            integer not null,
    okey            bigint not null,
    -- The dead message.
    seq             bigint not null,
    consumer_group  text not null,
    topic           text not null,
    partition       integer not null,
    "offset"        bigint not null,
    key             bytea not null,
    policy          text not null check (policy in ('block', 'park')),
    blocked_at      timestamptz not null default clock_timestamp(),
    primary key (lane, okey)
);
