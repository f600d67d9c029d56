-- A partition that its host stopped reading says so, with the reason, until it is taken over again. Only people read it.
alter table mailroom.partition_offset
    add column stopped_at timestamptz,
    add column stopped_reason text,
    add constraint partition_offset_stopped_with_reason check ((stopped_at is null) = (stopped_reason is null));
