-- Postgres' time, and since when somebody in this database waits for a standby with its commit.
select clock_timestamp() as now,
       (select min(coalesce(a.xact_start, a.query_start)) from pg_stat_activity a
         where a.datname = current_database() and a.wait_event = 'SyncRep') as standby_since
