-- Small durable values of handlers. `keyed`: by handler and message key; `shared`: by handler.
-- A write names the version it read, so that the loser of a race is run again.
create table mailroom.state (
    consumer_group  text not null,
    scope           text not null check (scope in ('keyed', 'shared')),
    -- Empty in the shared scope.
    key             bytea not null,
    name            text not null check (octet_length(name) between 1 and 255),
    value           bytea not null,
    version         bigint not null default 1 check (version >= 1),
    updated_at      timestamptz not null default clock_timestamp(),
    primary key (consumer_group, scope, key, name)
);
