-- What operators changed, each row written in the transaction that changed it. mailroom deletes none of them.
create table mailroom.audit (
    -- In the order of time.
    id      uuid not null default mailroom.uuid_v7() primary key,
    at      timestamptz not null default clock_timestamp(),
    -- Who: a token's name, or the database's role and the host's name of whoever used the command line.
    actor   text not null,
    via     text not null check (via in ('cli', 'http')),
    action  text not null,
    -- A consumer group, or the id of a dead letter.
    target  text not null,
    before  jsonb,
    after   jsonb,
    reason  text check (octet_length(reason) <= 2000)
);

-- The story of one letter or handler.
create index audit_target on mailroom.audit (target, id);
