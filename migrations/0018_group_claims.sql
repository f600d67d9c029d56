-- While hosts are replaced one by one, a handler whose group changed has both: the new one on hosts of the new
-- configuration, the old one until no host works in it any more.
alter table mailroom.consumer_group drop constraint consumer_group_one_handler;
