-- A lane whose owner did not know what became of a settlement, or in which nothing went on, is taken anew by it. How
-- often, and when last, is for people.
alter table mailroom.lane add column doubts bigint not null default 0, add column doubted_at timestamptz;
