-- Rights that the role of `[sql.NAME]` lacks to settle its messages.
select 'sql-role' as code,
       format('role %I may not call mailroom.settle_with_sql', current_user) as what,
       format('grant usage on schema mailroom to %1$I; grant execute on function mailroom.settle_with_sql to %1$I',
              current_user) as remedy
  from pg_proc p join pg_namespace s on s.oid = p.pronamespace
 where s.nspname = 'mailroom' and p.proname = 'settle_with_sql'
   and not (has_schema_privilege(s.oid, 'usage') and has_function_privilege(p.oid, 'execute'))
