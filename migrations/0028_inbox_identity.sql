-- no-transaction
-- A producer's id counts within topic and source: two sources may count from 1, and one id may be on two topics. Rows
-- that are there are unique in it already. An entry fits a page: texts of 255 characters, a topic's name and a group.
create unique index concurrently inbox_identity on mailroom.inbox (message_id, consumer_group, topic, source);
