-- Handlers that an operator paused: all hosts look here, and start nothing of them. Their messages are stored
-- and wait.
create table mailroom.handler_pause (
    consumer_group  text primary key,
    paused_at       timestamptz not null default clock_timestamp(),
    paused_by       text not null,
    reason          text check (octet_length(reason) <= 2000)
);

-- What a manifest calls its version, for people. A handler that has no version yet is compiled first; what is
-- paused is known by the table above.
alter table mailroom.handler
    add column version text,
    drop constraint handler_state_check,
    add constraint handler_state_check check (state in ('compiling', 'running', 'refused', 'removed'));
