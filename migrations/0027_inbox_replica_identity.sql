-- A publication `for all tables` asks each table how a replica tells its rows apart, and refuses updates of one that
-- does not say. No other index is needed: an inbox row is known by its message and group.
alter table mailroom.inbox replica identity using index inbox_dedup;
