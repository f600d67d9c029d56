-- Why the role that we are logged in as must not run a guest's SQL; null where it may.
select case
         when session_user <> current_user then 'its default role is another one'
         when r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls
           then 'it has attributes: alter role ' || quote_ident(r.rolname)
                || ' nosuperuser nocreaterole nocreatedb noreplication nobypassrls'
         when exists (select from pg_auth_members m where m.member = r.oid)
           then 'it is a member of ' || (select string_agg(quote_ident(g.rolname), ', ')
                                           from pg_auth_members m join pg_roles g on g.oid = m.roleid
                                          where m.member = r.oid) || ': revoke that'
         when exists (select from pg_class c
                       where c.relnamespace = to_regnamespace('mailroom') and c.relkind in ('r', 'p', 'v', 'm', 'S')
                         and (case when c.relkind = 'S' then has_sequence_privilege(c.oid, 'usage, select, update')
                                   else has_table_privilege(c.oid, 'insert, update, delete, truncate')
                                        or has_any_column_privilege(c.oid, 'select, insert, update') end))
           then 'it has privileges on tables of the schema mailroom: revoke all on all tables in schema mailroom from '
                || quote_ident(r.rolname)
         when has_schema_privilege(to_regnamespace('mailroom'), 'create')
           then 'it may create in the schema mailroom: revoke create on schema mailroom from ' || quote_ident(r.rolname)
       end as problem
  from pg_roles r where r.rolname = session_user
