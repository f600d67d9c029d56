-- Writes state: update, delete and insert into mailroom.state, each where nobody else has written since it was read.
-- Gives the places of those where somebody has.
select place as "place!" from mailroom.write_state($1, $2, $3, $4, $5, $6, $7)
