-- Whoever may create in a schema of the caller's `search_path` could give a function or an operator a better match
-- than pg_catalog's, and have it run as the host or as an operator. Functions here find pg_catalog alone.

-- Bound when it is made, so that inserts pay nothing for it; as before otherwise. `mailroom migrate` makes it while
-- only pg_catalog is searched.
create or replace function mailroom.uuid_v7() returns uuid
language sql volatile parallel safe
-- RFC 9562 §5.7: 48 bits of Unix milliseconds, then random bits, so that ids append to their index.
return encode(
    set_bit(set_bit(
        overlay(uuid_send(gen_random_uuid())
            placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
            from 1 for 6),
        52, 1), 53, 1), 'hex')::uuid;

alter function mailroom.before_outbox_insert() set search_path = pg_catalog, pg_temp;
alter function mailroom.json_or_null(bytea) set search_path = pg_catalog, pg_temp;
alter function mailroom.publish(
    text, text, text, json, jsonb, text, uuid, text, text, text, text, text, text, timestamptz, integer, boolean)
    set search_path = pg_catalog, pg_temp;
alter function mailroom.trimmed(text, text, integer) set search_path = pg_catalog, pg_temp;
alter function mailroom.checked_headers(jsonb) set search_path = pg_catalog, pg_temp;
alter function mailroom.emit(
    text, uuid[], text[], bytea[], text[], bytea[], text[], text[], text[], text[], text[], text[], text[], text[],
    double precision[])
    set search_path = pg_catalog, pg_temp;
alter function mailroom.stale_reads(text, text[], bytea[], text[], bigint[], bigint[])
    set search_path = pg_catalog, pg_temp;
alter function mailroom.write_state(text, text[], bytea[], text[], bytea[], bigint[], bigint[])
    set search_path = pg_catalog, pg_temp;
