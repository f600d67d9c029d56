-- Who works on what. Rows are not leased, lanes are: an inbox lane is a (consumer group, topic,
-- partition), an outbox lane is one of 64 hash slots of (topic, key). Each lane has at most one
-- owner, and whatever an owner writes is fenced by the token that its take-over raised.

create function mailroom.uuid_v7() returns uuid
language sql volatile parallel safe
as $$
    -- RFC 9562 §5.7: 48 bits of Unix milliseconds, then random bits, so that ids append to their index.
    select encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                from 1 for 6),
            52, 1), 53, 1), 'hex')::uuid
$$;

-- One row a running host process. A host whose expiry has passed is buried: its row is deleted, and
-- only then may its lanes be taken.
create table mailroom.host (
    id          uuid primary key,
    worker      text not null check (char_length(worker) between 1 and 255),
    version     text not null,
    -- Whether it takes lanes of the outbox.
    relays      boolean not null,
    started_at  timestamptz not null default clock_timestamp(),
    expires_at  timestamptz not null
) with (fillfactor = 50);

create table mailroom.lane (
    id              integer generated always as identity (start with 64) primary key,
    kind            text not null check (kind in ('inbox', 'outbox')),
    consumer_group  text,
    topic           text,
    partition       integer,
    owner           uuid,
    -- Raised by every take-over and by force unlock; a write that carries an older one is refused.
    token           bigint not null default 0,
    -- The highest seq that the owner may have handed to a handler: what a dead owner may have begun.
    started_to      bigint not null default 0,
    -- Raised by replay, discard and unlock: "forget your mark and read again".
    reread          bigint not null default 0,
    owned_since     timestamptz,
    -- The host to which Kafka gave the partition, while another has the lane: that one gives it up.
    wanted_by       uuid,
    -- Since when nobody has it; null where it was never written, or somebody has it.
    free_since      timestamptz default clock_timestamp(),
    constraint lane_owner_consistency check ((owner is null) = (owned_since is null)),
    constraint lane_inbox_key check (
        (kind = 'inbox') = (consumer_group is not null and topic is not null and partition is not null)),
    constraint lane_key unique (consumer_group, topic, partition)
) with (fillfactor = 20);

insert into mailroom.lane (id, kind) overriding system value
select slot, 'outbox' from generate_series(0, 63) slot;

-- Whose group it is: a consumer group belongs to one handler.
create table mailroom.consumer_group (
    name        text primary key,
    namespace   text not null,
    handler     text not null,
    claimed_at  timestamptz not null default clock_timestamp(),
    constraint consumer_group_one_handler unique (namespace, handler)
);

-- The truth about how far a partition was read; moved in the transaction that stores the records.
create table mailroom.partition_offset (
    consumer_group  text not null,
    topic           text not null,
    partition       integer not null,
    -- Kafka's id of the topic: a topic that was deleted and made again has another.
    topic_id        uuid,
    next_offset     bigint not null check (next_offset >= 0),
    epoch           bigint not null default 0,
    owner           uuid,
    updated_at      timestamptz not null default clock_timestamp(),
    primary key (consumer_group, topic, partition)
) with (fillfactor = 20);
