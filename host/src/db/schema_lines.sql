-- One line a column, constraint, index, function and trigger of the schema, in a stable order. The
-- migrations' own table is left out: it is the migrator's.
with relation as (
    select c.oid, c.relname as name, c.relkind as kind, array_to_string(c.reloptions, ', ') as options
      from pg_class c
     where c.relnamespace = 'mailroom'::regnamespace and c.relkind in ('r', 'v') and c.relname <> 'migrations'
),
line (section, name, place, text) as (
    select 1, r.name::text, 0,
           case r.kind when 'r' then 'table ' else 'view ' end || r.name || coalesce(' with (' || r.options || ')', '')
      from relation r
    union all
    select 1, r.name::text, a.attnum::integer,
           '    ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
           || case when a.attnotnull then ' not null' else '' end
           || case a.attidentity when 'a' then ' generated always as identity' else '' end
           || case
                  when a.attgenerated = 's' then ' generated as ' || pg_get_expr(d.adbin, d.adrelid)
                  when d.adbin is not null then ' default ' || pg_get_expr(d.adbin, d.adrelid)
                  else ''
              end
      from relation r
      join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
      left join pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
    union all
    -- Newer servers list `not null` here as well; the columns above have it.
    select 2, r.name || '.' || c.conname, 0,
           'constraint ' || r.name || '.' || c.conname || ' ' || pg_get_constraintdef(c.oid)
      from relation r
      join pg_constraint c on c.conrelid = r.oid and c.contype <> 'n'
    union all
    select 3, i.indexname::text, 0, i.indexdef
      from pg_indexes i
     where i.schemaname = 'mailroom' and i.tablename <> 'migrations'
    union all
    -- A function's body by its digest: the migration shows it.
    select 4, p.proname::text, 0,
           'function ' || p.proname || '(' || pg_get_function_arguments(p.oid) || ') returns '
           || pg_get_function_result(p.oid) || ' ' || p.provolatile::text
           || ' ' || md5(coalesce(pg_get_function_sqlbody(p.oid), p.prosrc))
      from pg_proc p
     where p.pronamespace = 'mailroom'::regnamespace
    union all
    select 5, t.tgname::text, 0, pg_get_triggerdef(t.oid)
      from relation r
      join pg_trigger t on t.tgrelid = r.oid and not t.tgisinternal
)
select text from line order by section, name collate "C", place
