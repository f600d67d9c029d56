-- How far old rows were looked for. The row is also what one host holds while it deletes a batch: the
-- others pass by.
create table mailroom.retention (
    of          text primary key check (of in ('inbox', 'outbox', 'dead')),
    -- The table is walked block by block: an index on the time of completion would cost every settlement.
    next_block  bigint not null default 0 check (next_block >= 0),
    -- When the walk under way began; null between two.
    began_at    timestamptz,
    -- Nothing that was seen, and nothing that was settled since, is older.
    oldest_at   timestamptz,
    ended_at    timestamptz,
    -- By the walk under way.
    deleted     bigint not null default 0
) with (fillfactor = 50);

insert into mailroom.retention (of) values ('inbox'), ('outbox'), ('dead');
