-- What each host has loaded, for `handler list` and `status`. Rows of buried hosts go with them.
create table mailroom.handler (
    host            uuid not null references mailroom.host (id) on delete cascade,
    name            text not null,
    consumer_group  text not null,
    -- SHA-256 of the component, hex; null where none could be loaded.
    digest          text,
    state           text not null check (state in ('running', 'refused', 'removed')),
    subscriptions   jsonb not null default '[]',
    last_error      text,
    since           timestamptz not null default clock_timestamp(),
    primary key (host, name)
);

-- Not parallel safe: an exception block is a subtransaction, which a parallel worker may not begin.
create function mailroom.json_or_null(bytes bytea) returns jsonb
language plpgsql immutable
as $$
begin
    return convert_from(bytes, 'UTF8')::jsonb;
exception when others then
    return null;
end
$$;

-- For people: JSON payloads as jsonb, and the lease of a row, which is its lane's.
create view mailroom.inbox_messages as
select i.*, mailroom.json_or_null(i.payload) as payload_json,
       case when begun.begun then h.worker end as locked_by,
       case when begun.begun then l.owned_since end as locked_at
  from mailroom.inbox i
  join mailroom.lane l on l.id = i.lane
  left join mailroom.host h on h.id = l.owner
 cross join lateral (select i.status = 'pending' and h.id is not null and i.seq <= l.started_to as begun) begun;

create view mailroom.outbox_messages as
select o.*, mailroom.json_or_null(o.payload) as payload_json,
       case when o.status = 'pending' then h.worker end as locked_by,
       case when o.status = 'pending' and h.id is not null then l.owned_since end as locked_at
  from mailroom.outbox o
  join mailroom.lane l on l.id = o.lane
  left join mailroom.host h on h.id = l.owner;
