-- Reads that are no longer so, by their places in the lists. Asked just before the state is written.
select place as "place!" from mailroom.stale_reads($1, $2, $3, $4, $5, $6)
