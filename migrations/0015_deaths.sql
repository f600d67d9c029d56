-- Every death is a settlement, of the message's handler in the message's turn: of what cannot be handled and of what
-- killed its process, too.

-- Why no handler can have a record; it is kept as it came, and dies in its turn.
alter table mailroom.inbox add column unfit text;

-- `interrupted`: begun under `ack = "at-most-once"`, and how it ended is not known. The checks are validated by the
-- next migration.
alter table mailroom.inbox
    drop constraint inbox_failed_reason_consistency,
    add constraint inbox_failed_reason_consistency check (
        (status = 'failed') = (failed_reason is not null)
        and failed_reason in ('exhausted', 'rejected', 'crash-loop', 'quarantined', 'interrupted', 'parked')) not valid;
alter table mailroom.dead_letter
    drop constraint dead_letter_reason_check,
    add constraint dead_letter_reason_check check (
        reason in ('exhausted', 'rejected', 'crash-loop', 'quarantined', 'interrupted', 'parked')) not valid;

-- From now on no count goes beyond 2 but that of a message which ran alone when its process died.
update mailroom.inbox set crashes = 2 where status = 'pending' and not held and crashes > 2;
update mailroom.inbox set crashes = 2 where held and crashes > 2;
