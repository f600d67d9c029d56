-- What came of calls that failed. A delivery's record is never written twice.
insert into mailroom.attempt (
    lane, seq, delivery, attempt, host, handler_digest, fault, code, error, detail, last_output, fuel_used,
    memory_peak, took_ms)
select a.lane, a.seq, a.delivery, a.attempt, $1, a.digest, a.fault, a.code, a.error, a.detail, a.last_output,
       a.fuel_used, a.memory_peak, a.took_ms
  from unnest(
       $2::integer[], $3::bigint[], $4::integer[], $5::integer[], $6::text[], $7::text[], $8::text[], $9::text[],
       $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::double precision[])
       a(lane, seq, delivery, attempt, digest, fault, code, error, detail, last_output, fuel_used, memory_peak,
         took_ms)
    on conflict (lane, seq, delivery) do nothing
