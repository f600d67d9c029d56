-- Emits what handlers asked for; the function does `insert into mailroom.outbox`, here and for handlers with SQL.
select mailroom.emit($15, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
