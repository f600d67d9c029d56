/* A handler that keeps the running total of each customer's orders. */
#include "mailroom.h"

static mailroom_outcome handle(const mailroom_message *message) {
  yyjson_val *order;
  mailroom_text customer;
  int64_t amount, total;
  const mailroom_error *error = mailroom_json(message, &order);
  if (!error) error = mailroom_json_text(order, "customer", &customer);
  if (!error) error = mailroom_json_integer(order, "amount_cents", &amount);
  if (!error) error = mailroom_state_get_integer(MAILROOM_KEYED, "total_cents", &total);
  if (error) return mailroom_failed(error);
  total += amount;
  error = mailroom_state_set_integer(MAILROOM_KEYED, "total_cents", total);
  if (error) return mailroom_failed(error);
  yyjson_mut_doc *body = mailroom_json_object();
  mailroom_json_add_text(body, body->root, "customer", customer);
  yyjson_mut_obj_add_sint(body, body->root, "total_cents", total);
  const mailroom_outgoing changed = {.topic = "totals", .event_type = "total.changed", .key = message->key};
  error = mailroom_publish_json(&changed, body, NULL);
  return error ? mailroom_failed(error) : mailroom_completed();
}

static const char *const topics[] = {"orders", NULL};
static const char *const event_types[] = {"order.placed", NULL};
static const mailroom_subscription subscriptions[] = {{.topics = topics, .event_types = event_types}};

const mailroom_handler mailroom_this_handler = {subscriptions, 1, handle};
