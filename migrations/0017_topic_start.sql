-- Topics that a consumer group has begun. The row and the offset rows of all its partitions are written in one
-- transaction: a partition without an offset row was added later, and begins at its first record.
create table mailroom.topic_start (
    consumer_group  text not null,
    topic           text not null,
    -- Kafka's id of the topic at that time; nil where the cluster has no topic ids, null where it was not known.
    topic_id        uuid,
    begun_at        timestamptz not null default clock_timestamp(),
    primary key (consumer_group, topic)
);

insert into mailroom.topic_start (consumer_group, topic, topic_id, begun_at)
select consumer_group, topic, min(topic_id::text)::uuid, min(updated_at)
  from mailroom.partition_offset group by consumer_group, topic;
