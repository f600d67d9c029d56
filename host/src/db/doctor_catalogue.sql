-- Faults of the database that its catalogue shows, each with its code, in words, and with the statement that mends it.
-- $1 is the age in seconds from which an open transaction counts, $2 the connections that the hosts may open.
with relation as (
    select c.*, s.nspowner from pg_class c join pg_namespace s on s.oid = c.relnamespace where s.nspname = 'mailroom'
),
mail_table as (select * from relation where relkind = 'r'),
me as (select r.oid, r.rolname as name, quote_ident(r.rolname) as quoted, r.rolconnlimit
         from pg_roles r where r.rolname = current_user),
here as (select d.* from pg_database d where d.datname = current_database()),
finding (code, what, remedy) as (
    select 'index-invalid',
           format('index mailroom.%I is not valid: it is written and never read', c.relname),
           format('reindex index concurrently mailroom.%I', c.relname)
      from relation c join pg_index i on i.indexrelid = c.oid where not (i.indisvalid and i.indisready)
    union all
    select 'trigger-disabled',
           format('trigger %I of mailroom.%I is disabled', t.tgname, c.relname),
           format('alter table mailroom.%I enable trigger %s', c.relname,
                  case when t.tgisinternal then 'all' else quote_ident(t.tgname) end)
      from mail_table c join pg_trigger t on t.tgrelid = c.oid where t.tgenabled in ('D', 'R')
    union all
    select 'rule-foreign',
           format('rule %I of mailroom.%I changes what statements do there', r.rulename, c.relname),
           format('drop rule %I on mailroom.%I', r.rulename, c.relname)
      from mail_table c join pg_rewrite r on r.ev_class = c.oid
    union all
    select 'table-unlogged', format('table mailroom.%I is unlogged', c.relname),
           format('alter table mailroom.%I set logged', c.relname)
      from mail_table c where c.relpersistence <> 'p'
    union all
    select 'row-security', format('table mailroom.%I has row-level security', c.relname),
           format('alter table mailroom.%I disable row level security', c.relname)
      from mail_table c where c.relrowsecurity
    union all
    select 'autovacuum-off', format('autovacuum is off for mailroom.%I', c.relname),
           format('alter table mailroom.%I reset (autovacuum_enabled)', c.relname)
      from mail_table c cross join pg_options_to_table(c.reloptions) o
     where o.option_name = 'autovacuum_enabled' and o.option_value in ('false', 'off', 'no', '0')
    union all
    select 'autovacuum-off', format('%s is off for the whole server', s.name),
           format('alter system set %s = on; select pg_reload_conf()', s.name)
      from pg_settings s where s.name in ('autovacuum', 'track_counts') and s.setting = 'off'
    union all
    select 'owner-foreign',
           format('%s mailroom.%I belongs to %I, the schema to %I', k.kind, c.relname,
                  pg_get_userbyid(c.relowner), pg_get_userbyid(c.nspowner)),
           format('alter %s mailroom.%I owner to %I', k.kind, c.relname, pg_get_userbyid(c.nspowner))
      from relation c
     cross join lateral (select case c.relkind when 'v' then 'view' else 'table' end as kind) k
     where c.relkind in ('r', 'v') and c.relowner <> c.nspowner
    union all
    select 'owner-foreign',
           format('function %s belongs to %I, the schema to %I', p.oid::regprocedure, pg_get_userbyid(p.proowner),
                  pg_get_userbyid(s.nspowner)),
           format('alter function %s owner to %I', p.oid::regprocedure, pg_get_userbyid(s.nspowner))
      from pg_proc p join pg_namespace s on s.oid = p.pronamespace
     where s.nspname = 'mailroom' and p.proowner <> s.nspowner
    union all
    select 'grants', format('role %s may not use the schema mailroom', me.quoted),
           format('grant usage on schema mailroom to %s', me.quoted)
      from me join pg_namespace s on s.nspname = 'mailroom'
     where not has_schema_privilege(me.name, s.oid, 'usage')
    union all
    select 'grants',
           format('role %s lacks %s on %s', me.quoted, p.lacking, string_agg(quote_ident(c.relname), ', ' order by c.relname)),
           format('grant select, insert, update, delete on all tables in schema mailroom to %s', me.quoted)
      from me cross join mail_table c
     cross join lateral (
           select string_agg(w.privilege, ', ' order by w.place) as lacking
             from unnest(array['select', 'insert', 'update', 'delete']) with ordinality w(privilege, place)
            where not has_table_privilege(me.name, c.oid, w.privilege)
              and (c.relname <> 'migrations' or w.privilege = 'select')) p
     where p.lacking is not null
     group by me.quoted, p.lacking
    union all
    select 'grants',
           format('role %s may not draw from %s', me.quoted, string_agg(quote_ident(c.relname), ', ' order by c.relname)),
           format('grant select, usage on all sequences in schema mailroom to %s', me.quoted)
      from me cross join relation c
     where c.relkind = 'S'
       and not (has_sequence_privilege(me.name, c.oid, 'usage') and has_sequence_privilege(me.name, c.oid, 'select'))
     group by me.quoted
    union all
    select 'grants', format('role %s may not call %s', me.quoted, p.oid::regprocedure),
           format('grant execute on function %s to %s', p.oid::regprocedure, me.quoted)
      from me cross join pg_proc p
     where p.pronamespace = to_regnamespace('mailroom')
       and p.proname not in ('settle_with_sql', 'settle_proof', 'before_outbox_insert')
       and not has_function_privilege(me.name, p.oid, 'execute')
    union all
    select 'secret-readable', 'every role may read mailroom.host_key', 'revoke all on mailroom.host_key from public'
      from mail_table c cross join aclexplode(c.relacl) a
     where c.relname = 'host_key' and a.grantee = 0
     group by c.oid
    union all
    select 'replica-identity',
           format('mailroom.%I does not say how a replica tells its rows apart', c.relname),
           format('alter table mailroom.%I replica identity %s', c.relname,
                  case c.relname when 'inbox' then 'using index inbox_identity' else 'default' end)
      from mail_table c
     where not case c.relreplident
               when 'd' then exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
               when 'i' then exists (select from pg_index i where i.indrelid = c.oid and i.indisreplident)
               else c.relreplident = 'f' end
    union all
    select 'commit-asynchronous', format('synchronous_commit is %s, from the %s', s.setting, s.source),
           case s.source
               when 'database' then format('alter database %I reset synchronous_commit', here.datname)
               when 'user' then format('alter role %s reset synchronous_commit', me.quoted)
               when 'database user' then format('alter role %s in database %I reset synchronous_commit', me.quoted, here.datname)
               when 'client' then 'take synchronous_commit out of the options of postgres.url'
               else 'alter system set synchronous_commit = on; select pg_reload_conf()' end
      from pg_settings s cross join me cross join here
     where s.name = 'synchronous_commit'
       and (s.setting = 'off' or s.setting = 'local' and current_setting('synchronous_standby_names') <> '')
    union all
    select 'server-unsafe', format('%s is off', s.name),
           format('alter system set %s = on; select pg_reload_conf()', s.name)
      from pg_settings s where s.name in ('fsync', 'full_page_writes') and s.setting = 'off'
    union all
    -- Logical replicas are no standbys, and tools that copy the log are none to fail over to.
    select 'standby-asynchronous',
           format('the standby %s (%s) is asynchronous, and none is synchronous', string_agg(r.application_name, ', '),
                  string_agg(coalesce(r.client_addr::text, 'local'), ', ')),
           format('alter system set synchronous_standby_names = ''ANY 1 (%s)''; select pg_reload_conf()',
                  string_agg(quote_ident(r.application_name), ', '))
      from pg_stat_replication r
     where r.sync_state = 'async'
       and r.application_name not in ('pg_receivewal', 'pg_basebackup', 'pg_rewind', 'pg_recvlogical')
       and not exists (select from pg_stat_replication o where o.sync_state in ('sync', 'quorum'))
       and not exists (select from pg_replication_slots s where s.active_pid = r.pid and s.slot_type = 'logical')
    having count(*) > 0
    union all
    select 'transaction-old',
           format('session %s (%s, %s, %s) has a transaction open since %s', a.pid, a.usename,
                  coalesce(nullif(a.application_name, ''), 'without a name'), a.state,
                  to_char(a.xact_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
           format('select pg_terminate_backend(%s)', a.pid)
      from pg_stat_activity a cross join here
     where a.datid = here.oid and a.pid <> pg_backend_pid() and a.backend_type = 'client backend'
       and a.xact_start < statement_timestamp() - make_interval(secs => $1)
    union all
    select 'not-visible', format('role %s sees nothing of other sessions', me.quoted),
           format('grant pg_read_all_stats to %s', me.quoted)
      from me where not pg_has_role(me.name, 'pg_read_all_stats', 'usage')
    union all
    select 'prepared-old',
           format('the prepared transaction %L of %s is neither committed nor rolled back since %s', x.gid, x.owner,
                  to_char(x.prepared at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
           format('rollback prepared %L', x.gid)
      from pg_prepared_xacts x
     where x.database = current_database() and x.prepared < statement_timestamp() - make_interval(secs => $1)
    union all
    select 'dead-tuples', format('mailroom.%I has %s dead rows beside %s that live', t.relname, t.n_dead_tup, t.n_live_tup),
           format('vacuum (analyze) mailroom.%I', t.relname)
      from pg_stat_all_tables t
     where t.schemaname = 'mailroom' and t.n_dead_tup > 10000 and t.n_dead_tup > t.n_live_tup
    union all
    select 'wraparound',
           format('the oldest transaction id of database %s is %s back, which autovacuum should not let grow beyond %s',
                  here.datname, age(here.datfrozenxid), current_setting('autovacuum_freeze_max_age')),
           'vacuum (freeze)'
      from here where age(here.datfrozenxid) > 2 * current_setting('autovacuum_freeze_max_age')::bigint
    union all
    select 'wraparound',
           format('the oldest multixact id of database %s is %s back, which autovacuum should not let grow beyond %s',
                  here.datname, mxid_age(here.datminmxid), current_setting('autovacuum_multixact_freeze_max_age')),
           'vacuum (freeze)'
      from here
     where mxid_age(here.datminmxid) > 2 * current_setting('autovacuum_multixact_freeze_max_age')::bigint
    union all
    select 'connections-few',
           format('the hosts may open %s connections, and Postgres has room for %s of roles without privileges', $2, room.rooms),
           format('alter system set max_connections = %s', $2 + current_setting('max_connections')::integer - room.rooms)
      from (select current_setting('max_connections')::integer
                   - current_setting('superuser_reserved_connections')::integer as rooms) room
     where $2 > room.rooms
    union all
    select 'connections-few', format('role %s may have %s connections, and the hosts may open %s', me.quoted, me.rolconnlimit, $2),
           format('alter role %s connection limit -1', me.quoted)
      from me where me.rolconnlimit between 0 and $2 - 1
    union all
    select 'connections-few',
           format('database %s takes %s connections, and the hosts may open %s', here.datname, here.datconnlimit, $2),
           format('alter database %I connection limit -1', here.datname)
      from here where here.datconnlimit between 0 and $2 - 1
    union all
    select 'slot-idle',
           format('nobody reads the replication slot %s, for which %s of the log are kept', s.slot_name,
                  pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn))),
           format('select pg_drop_replication_slot(%L)', s.slot_name)
      from pg_replication_slots s
     where not s.active and pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn) > 1073741824
)
select code, what, remedy from finding order by code, what
