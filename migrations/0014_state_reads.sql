-- State in a settlement: what was read is checked, what was written is written. One text for all settlements, those
-- of handlers with SQL (`settle_with_sql`) too. Both run as whoever calls them.

-- Places in the lists of what was read and is not so any more. Without a name it is a whole scope: `counts` is how
-- many values it had, `versions` the exclusive or of their versions. With one it is a value; version 0 is none.
-- Nothing is locked: it comes just before the writes, so that a reader and a writer of one value pass together, the
-- reader first.
create function mailroom.stale_reads(
    of_group text, scopes text[], keys bytea[], names text[], versions bigint[], counts bigint[])
returns table (place bigint)
language plpgsql
-- A plan that was made while the table was small is kept, and must not read all of it.
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    select r.place
      from unnest(scopes, keys, names, versions, counts) with ordinality
           r(scope, key, name, version, count, place)
     where case when r.name is not null
           -- One probe of the index each: a join may start from all of the table.
           then r.version <> coalesce((
                    select s.version from mailroom.state s
                     where s.consumer_group = of_group and s.scope = r.scope and s.key = r.key and s.name = r.name), 0)
           else (r.version, r.count) <> (
                    select coalesce(bit_xor(s.version), 0), count(*) from mailroom.state s
                     where s.consumer_group = of_group and s.scope = r.scope and s.key = r.key)
           end;
end
$$;

-- Writes values, each only at the version that was read, 0 for none; a null version writes whatever is there, a null
-- value removes. Gives the places of those that another has written meanwhile; their settlement is to be undone.
create function mailroom.write_state(
    of_group text, scopes text[], keys bytea[], names text[], new_values bytea[], versions_read bigint[],
    versions_written bigint[])
returns table (place bigint)
language plpgsql
-- A plan that was made while the table was small is kept, and must not read all of it.
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    with w as materialized (
        select *
          from unnest(scopes, keys, names, new_values, versions_read, versions_written) with ordinality
               w(scope, key, name, value, read, written, place)),
    updated as (
        update mailroom.state s set value = w.value, version = w.written, updated_at = clock_timestamp()
          from w
         where s.consumer_group = of_group and s.scope = w.scope and s.key = w.key and s.name = w.name
           and s.version = w.read and w.read <> 0 and w.value is not null
        returning w.place),
    removed as (
        delete from mailroom.state s using w
         where s.consumer_group = of_group and s.scope = w.scope and s.key = w.key and s.name = w.name
           and (s.version = w.read or w.read is null) and w.value is null
        returning w.place),
    inserted as (
        insert into mailroom.state (consumer_group, scope, key, name, value, version)
        select of_group, w.scope, w.key, w.name, w.value, w.written from w
         where w.read = 0 and w.value is not null order by w.place
            on conflict do nothing
        returning scope, key, name),
    replaced as (
        insert into mailroom.state (consumer_group, scope, key, name, value, version)
        select of_group, w.scope, w.key, w.name, w.value, w.written from w
         where w.read is null and w.value is not null order by w.place
            on conflict (consumer_group, scope, key, name)
            do update set value = excluded.value, version = excluded.version, updated_at = clock_timestamp())
    select w.place from w
     where w.read is not null
       and case when w.read <> 0 then w.place not in (select place from updated union all select place from removed)
           when w.value is not null then not exists (
               select from inserted i where i.scope = w.scope and i.key = w.key and i.name = w.name)
           -- It was made and removed again.
           else exists (
               select from mailroom.state s
                where s.consumer_group = of_group and s.scope = w.scope and s.key = w.key and s.name = w.name) end;
end
$$;
