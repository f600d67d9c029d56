-- The application of compose.yaml: an order of a customer by chance, and the message that tells of it, each second. Some
-- amounts are such as the carrier of the handler `shipping` minds: see handlers/shipping.
create table if not exists orders (
    order_id text primary key,
    customer text not null,
    amount_cents bigint not null,
    message uuid not null
);

with placed as (
    select
        gen_random_uuid()::text as order_id,
        (array['ada', 'barbara', 'edsger', 'frances', 'grace', 'katherine', 'leslie', 'tony'])[1 + floor(random() * 8)::int]
            as customer,
        case floor(random() * 20)::int
            when 0 then 1013
            when 1 then 1007
            when 2 then -1000
            else 1020 + floor(random() * 80)::int
        end as amount_cents
)
insert into orders (order_id, customer, amount_cents, message)
select order_id, customer, amount_cents, mailroom.publish('orders', customer, 'order.placed',
    json_build_object('order_id', order_id, 'customer', customer, 'amount_cents', amount_cents))
from placed
\watch 1
