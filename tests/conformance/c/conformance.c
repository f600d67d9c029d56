/* A handler that does by event type what the tests of all SDKs ask for. */
#include "mailroom.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mailroom_outcome ended(const mailroom_error *error) {
  return error ? mailroom_failed(error) : mailroom_completed();
}

/* Publishes what the tests read. */
static const mailroom_error *publish_result(const mailroom_message *message, const yyjson_mut_doc *result) {
  const mailroom_outgoing outgoing = {
      .topic = "conformance-results", .event_type = "conformance.result", .key = message->key};
  return mailroom_publish_json(&outgoing, result, NULL);
}

static mailroom_text base64(mailroom_text bytes) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char *out = mailroom_alloc((bytes.len + 2) / 3 * 4 + 1);
  size_t len = 0;
  for (size_t i = 0; i < bytes.len; i += 3) {
    const unsigned char *in = (const unsigned char *)bytes.ptr + i;
    size_t left = bytes.len - i;
    unsigned group = (unsigned)in[0] << 16 | (left > 1 ? (unsigned)in[1] << 8 : 0) | (left > 2 ? in[2] : 0);
    out[len++] = digits[group >> 18];
    out[len++] = digits[group >> 12 & 63];
    out[len++] = left > 1 ? digits[group >> 6 & 63] : '=';
    out[len++] = left > 2 ? digits[group & 63] : '=';
  }
  mailroom_text text = {out, len};
  return text;
}

static yyjson_mut_val *json_data(yyjson_mut_doc *doc, mailroom_data data) {
  if (data.form == MAILROOM_ABSENT) return yyjson_mut_null(doc);
  yyjson_mut_val *object = yyjson_mut_obj(doc);
  if (data.form == MAILROOM_TEXT) mailroom_json_add_text(doc, object, "text", data.bytes);
  else mailroom_json_add_text(doc, object, "base64", base64(data.bytes));
  return object;
}

static mailroom_outcome echo(const mailroom_message *message) {
  yyjson_mut_doc *doc = mailroom_json_object();
  yyjson_mut_val *root = doc->root, *headers = yyjson_mut_arr(doc);
  for (size_t i = 0; i < message->header_count; i++) {
    yyjson_mut_val *header = yyjson_mut_arr_add_arr(doc, headers);
    mailroom_text name = message->headers[i].name;
    yyjson_mut_arr_add_strncpy(doc, header, name.ptr, name.len);
    yyjson_mut_arr_append(header, json_data(doc, message->headers[i].value));
  }
  mailroom_json_add_text(doc, root, "id", message->id);
  mailroom_json_add_text(doc, root, "message_id", message->message_id);
  mailroom_json_add_text(doc, root, "event_type", message->event_type);
  mailroom_json_add_text(doc, root, "source", message->source);
  mailroom_json_add_text(doc, root, "schema_version", message->schema_version);
  mailroom_json_add_text(doc, root, "topic", message->topic);
  yyjson_mut_obj_add_sint(doc, root, "partition", message->partition);
  yyjson_mut_obj_add_sint(doc, root, "offset", message->offset);
  yyjson_mut_obj_add_val(doc, root, "key", json_data(doc, message->key));
  yyjson_mut_obj_add_val(doc, root, "payload", json_data(doc, message->payload));
  mailroom_json_add_text(doc, root, "content_type", message->content_type);
  yyjson_mut_obj_add_val(doc, root, "headers", headers);
  yyjson_mut_obj_add_sint(doc, root, "produced_at_ms", message->produced_at_ms);
  mailroom_json_add_text(doc, root, "correlation_id", message->correlation_id);
  mailroom_json_add_text(doc, root, "causation_id", message->causation_id);
  mailroom_json_add_text(doc, root, "traceparent", message->traceparent);
  yyjson_mut_obj_add_uint(doc, root, "attempt", message->attempt);
  yyjson_mut_obj_add_uint(doc, root, "max_attempts", message->max_attempts);
  yyjson_mut_obj_add_uint(doc, root, "delivery", message->delivery);
  return ended(publish_result(message, doc));
}

static mailroom_outcome size(const mailroom_message *message) {
  uint32_t sum = 0;
  for (size_t i = 0; i < message->payload.bytes.len; i++) sum += (unsigned char)message->payload.bytes.ptr[i];
  yyjson_mut_doc *doc = mailroom_json_object();
  yyjson_mut_obj_add_uint(doc, doc->root, "bytes", message->payload.bytes.len);
  yyjson_mut_obj_add_uint(doc, doc->root, "sum", sum);
  return ended(publish_result(message, doc));
}

static mailroom_outcome typed(const mailroom_message *message) {
  yyjson_val *root;
  mailroom_text order_id;
  int64_t amount;
  const mailroom_error *error = mailroom_json(message, &root);
  if (!error) error = mailroom_json_text(root, "order_id", &order_id);
  if (!error) error = mailroom_json_integer(root, "amount_cents", &amount);
  if (error) return mailroom_failed(error);
  yyjson_mut_doc *doc = mailroom_json_object();
  mailroom_json_add_text(doc, doc->root, "order_id", order_id);
  yyjson_mut_obj_add_sint(doc, doc->root, "amount_cents", amount);
  return ended(publish_result(message, doc));
}

static mailroom_outcome completed(const mailroom_message *message) {
  (void)message;
  return mailroom_completed();
}

static mailroom_outcome publish_tries(const mailroom_message *message) {
  yyjson_mut_doc *doc = mailroom_json_object();
  yyjson_mut_obj_add_uint(doc, doc->root, "attempt", message->attempt);
  yyjson_mut_obj_add_uint(doc, doc->root, "delivery", message->delivery);
  return ended(publish_result(message, doc));
}

/* A number in the payload. */
static const mailroom_error *asked(const mailroom_message *message, const char *name, int64_t *number) {
  yyjson_val *root;
  const mailroom_error *error = mailroom_json(message, &root);
  return error ? error : mailroom_json_integer(root, name, number);
}

static mailroom_outcome retry_after(const mailroom_message *message) {
  int64_t after;
  const mailroom_error *error = asked(message, "after_ms", &after);
  if (error) return mailroom_failed(error);
  if (message->attempt == 1) return mailroom_after(mailroom_retry("later"), (uint64_t)after);
  return publish_tries(message);
}

static mailroom_outcome uncounted(const mailroom_message *message) {
  if (message->delivery <= 2) return mailroom_uncounted(mailroom_after(mailroom_retry("not yet"), 50));
  return publish_tries(message);
}

static mailroom_outcome skipped(const mailroom_message *message) {
  (void)message;
  return mailroom_skip("nothing to do");
}

static mailroom_outcome rejected(const mailroom_message *message) {
  (void)message;
  return mailroom_reject("never");
}

static mailroom_outcome failed(const mailroom_message *message) {
  (void)message;
  return mailroom_fail("the bank refused", "bank-refused", "account 7");
}

/* C has nothing that could be caught: its natural end is abort, with words on standard error. */
__attribute__((noinline)) static void deep_in_the_stack(void) {
  fprintf(stderr, "boom 😀\n");
  abort();
}

static mailroom_outcome uncaught(const mailroom_message *message) {
  (void)message;
  deep_in_the_stack();
  return mailroom_completed();
}

static mailroom_outcome published_then_failed(const mailroom_message *message) {
  yyjson_mut_doc *doc = mailroom_json_object();
  yyjson_mut_obj_add_true(doc, doc->root, "never");
  const mailroom_error *error = publish_result(message, doc);
  if (!error) error = mailroom_state_set(MAILROOM_KEYED, "never", "true", 4);
  return error ? mailroom_failed(error) : mailroom_fail("after effects", NULL, NULL);
}

static mailroom_outcome publish(const mailroom_message *message) {
  int64_t delay;
  const mailroom_error *error = asked(message, "delay_ms", &delay);
  if (error) return mailroom_failed(error);
  const mailroom_header headers[] = {
      {mailroom_text_of("a"), mailroom_data_text("1")},
      {mailroom_text_of("a"), mailroom_data_text(NULL)},
      {mailroom_text_of("b"), mailroom_data_bytes("\xff\x00", 2)},
  };
  const char *once = mailroom_format("once-%s", mailroom_cstr(message->id));
  mailroom_outgoing outgoing[] = {
      {.key = mailroom_data_text("k😀"),
       .payload = mailroom_data_text("hello 😀"),
       .content_type = "text/plain",
       .schema_version = "2.1",
       .headers = headers,
       .header_count = 3},
      {.payload = mailroom_data_bytes("\x00\xff", 2)},
      {.payload = mailroom_data_text(NULL)},
      {.payload = mailroom_data_text("late"), .delay_ms = (uint64_t)delay},
      {.payload = mailroom_data_text("once"), .idempotency_key = once},
      {.payload = mailroom_data_text("once"), .idempotency_key = once},
  };
  enum { COUNT = sizeof outgoing / sizeof *outgoing };
  mailroom_text ids[COUNT];
  for (size_t i = 0; i < COUNT; i++) {
    outgoing[i].topic = "conformance-results";
    outgoing[i].event_type = "conformance.result";
    error = mailroom_publish(&outgoing[i], &ids[i]);
    if (error) return mailroom_failed(error);
  }
  yyjson_mut_doc *doc = mailroom_json_object();
  yyjson_mut_obj_add_bool(doc, doc->root, "same_id", mailroom_equal(ids[4], mailroom_cstr(ids[5])));
  return ended(publish_result(message, doc));
}

static const char *kind_of(const mailroom_error *error) {
  switch (error->kind) {
    case MAILROOM_NOT_GRANTED: return "not-granted";
    case MAILROOM_INVALID: return "invalid";
    case MAILROOM_INVALID_NAME: return "invalid-name";
    case MAILROOM_NO_KEY: return "no-key";
    default: return "another";
  }
}

/* Reports a refusal, with the words or the topic where there are some. */
static mailroom_outcome report(const mailroom_message *message, const mailroom_error *refused, const char *name,
                               const char *value) {
  if (!refused) return mailroom_fail("it was not refused", NULL, NULL);
  yyjson_mut_doc *doc = mailroom_json_object();
  mailroom_json_add_text(doc, doc->root, "error", mailroom_text_of(kind_of(refused)));
  if (name) mailroom_json_add_text(doc, doc->root, name, mailroom_text_of(value));
  return ended(publish_result(message, doc));
}

static mailroom_outcome publish_denied(const mailroom_message *message) {
  const mailroom_outgoing outgoing = {.topic = "elsewhere", .event_type = "conformance.result"};
  return report(message, mailroom_publish(&outgoing, NULL), "topic", outgoing.topic);
}

static mailroom_outcome publish_invalid(const mailroom_message *message) {
  const mailroom_outgoing outgoing = {.topic = "", .event_type = "conformance.result"};
  const mailroom_error *refused = mailroom_publish(&outgoing, NULL);
  return report(message, refused, "words", refused ? refused->reason : "");
}

/* Adds the JSON of a keyed name, null where it was never set. */
static const mailroom_error *add_state(yyjson_mut_doc *doc, const char *name) {
  yyjson_val *value;
  const mailroom_error *error = mailroom_state_get_json(MAILROOM_KEYED, name, &value);
  if (error) return error;
  yyjson_mut_obj_add_val(doc, doc->root, name, value ? yyjson_val_mut_copy(doc, value) : yyjson_mut_null(doc));
  return NULL;
}

static mailroom_outcome state(const mailroom_message *message) {
  mailroom_texts names = {NULL, 0};
  yyjson_mut_doc *doc = mailroom_json_object();
  const mailroom_error *error = mailroom_state_set(MAILROOM_KEYED, "a", "{\"n\":1}", 7);
  if (!error) error = mailroom_state_set(MAILROOM_KEYED, "b", "\x00\xff", 2);
  for (int64_t i = 1; i <= 3 && !error; i++) {
    error = mailroom_state_set_integer(MAILROOM_KEYED, mailroom_format("c/%d", (int)i), i);
  }
  if (!error) error = mailroom_state_remove(MAILROOM_KEYED, "b");
  if (!error) error = add_state(doc, "a");
  if (!error) error = add_state(doc, "b");
  if (!error) error = mailroom_state_names(MAILROOM_KEYED, "c/", &names);
  if (error) return mailroom_failed(error);
  yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, doc->root, "names");
  for (size_t i = 0; i < names.count; i++) yyjson_mut_arr_add_strn(doc, list, names.items[i].ptr, names.items[i].len);
  return ended(publish_result(message, doc));
}

static mailroom_outcome state_kept(const mailroom_message *message) {
  yyjson_mut_doc *doc = mailroom_json_object();
  const mailroom_error *error = add_state(doc, "a");
  return ended(error ? error : publish_result(message, doc));
}

static mailroom_outcome state_invalid(const mailroom_message *message) {
  return report(message, mailroom_state_set(MAILROOM_KEYED, "", "1", 1), NULL, NULL);
}

static mailroom_outcome state_no_key(const mailroom_message *message) {
  return report(message, mailroom_state_set(MAILROOM_KEYED, "a", "1", 1), NULL, NULL);
}

static mailroom_outcome shared(const mailroom_message *message) {
  int64_t count;
  (void)message;
  const mailroom_error *error = mailroom_state_get_integer(MAILROOM_SHARED, "count", &count);
  return ended(error ? error : mailroom_state_set_integer(MAILROOM_SHARED, "count", count + 1));
}

static mailroom_outcome shared_read(const mailroom_message *message) {
  int64_t count;
  const mailroom_error *error = mailroom_state_get_integer(MAILROOM_SHARED, "count", &count);
  if (error) return mailroom_failed(error);
  yyjson_mut_doc *doc = mailroom_json_object();
  yyjson_mut_obj_add_sint(doc, doc->root, "count", count);
  return ended(publish_result(message, doc));
}

static mailroom_outcome sql(const mailroom_message *message) {
  const mailroom_value params[] = {
      mailroom_sql_boolean(true), mailroom_sql_integer(INT64_C(9007199254740993)),   mailroom_sql_float(1.5),
      mailroom_sql_text(mailroom_text_of("ü😀")), mailroom_sql_bytes("\x00\xff", 2),
  };
  mailroom_table table;
  const mailroom_error *error =
      mailroom_query("select $1::boolean, $2::bigint, $3::float8, $4::text, $5::bytea, null::text", params, 5, &table);
  if (error) return mailroom_failed(error);
  yyjson_mut_doc *doc = mailroom_json_object();
  yyjson_mut_obj_add_uint(doc, doc->root, "columns", table.column_count);
  yyjson_mut_val *row = yyjson_mut_obj_add_arr(doc, doc->root, "row");
  for (size_t i = 0; i < table.column_count; i++) {
    const mailroom_value *value = mailroom_table_at(&table, 0, i);
    mailroom_text text = value->bytes;
    switch (value->kind) {
      case MAILROOM_SQL_NULL: yyjson_mut_arr_add_null(doc, row); break;
      case MAILROOM_SQL_BOOLEAN: yyjson_mut_arr_add_bool(doc, row, value->boolean); break;
      case MAILROOM_SQL_INTEGER:
        yyjson_mut_arr_add_strcpy(doc, row, mailroom_format("%lld", (long long)value->integer));
        break;
      case MAILROOM_SQL_FLOAT: yyjson_mut_arr_add_real(doc, row, value->number); break;
      case MAILROOM_SQL_BYTES: text = base64(text); /* fall through */
      case MAILROOM_SQL_TEXT: yyjson_mut_arr_add_strn(doc, row, text.ptr, text.len); break;
    }
  }
  error = publish_result(message, doc);
  if (error) return mailroom_failed(error);
  const mailroom_value id = mailroom_sql_text(message->id);
  uint64_t inserted;
  error = mailroom_execute("insert into conformance (id) values ($1)", &id, 1, &inserted);
  if (error) return mailroom_failed(error);
  doc = mailroom_json_object();
  yyjson_mut_obj_add_uint(doc, doc->root, "inserted", inserted);
  return ended(publish_result(message, doc));
}

static mailroom_outcome sql_error(const mailroom_message *message) {
  mailroom_table table;
  (void)message;
  const mailroom_error *error = mailroom_query("select 1/0", NULL, 0, &table);
  return error ? mailroom_fail(error->words, error->sqlstate, NULL) : mailroom_completed();
}

static mailroom_outcome config(const mailroom_message *message) {
  mailroom_text greeting, absent;
  const mailroom_error *error = mailroom_config("GREETING", &greeting);
  if (error) return mailroom_failed(error);
  error = mailroom_config("ABSENT", &absent);
  if (!error) return mailroom_fail("ABSENT has a value", NULL, NULL);
  yyjson_mut_doc *doc = mailroom_json_object();
  mailroom_json_add_text(doc, doc->root, "greeting", greeting);
  mailroom_json_add_text(doc, doc->root, "absent", mailroom_text_of(error->words));
  return ended(publish_result(message, doc));
}

static mailroom_outcome write_log(const mailroom_message *message) {
  static const char *const levels[] = {"trace", "debug", "info", "warn", "error", "critical"};
  (void)message;
  for (int level = MAILROOM_TRACE; level <= MAILROOM_CRITICAL; level++) {
    mailroom_log((mailroom_level)level, "conformance", "a line at %s 😀", levels[level]);
  }
  printf("printed 😀\n");
  fflush(stdout);
  return mailroom_completed();
}

static mailroom_outcome http(const mailroom_message *message) {
  yyjson_val *root;
  mailroom_text url;
  const mailroom_error *error = mailroom_json(message, &root);
  if (!error) error = mailroom_json_text(root, "url", &url);
  if (error) return mailroom_failed(error);
  const mailroom_field header = {mailroom_text_of("x-conformance"), mailroom_text_of("yes")};
  const mailroom_request request = {.method = "POST",
                                    .url = mailroom_cstr(url),
                                    .headers = &header,
                                    .header_count = 1,
                                    .body = mailroom_text_of("ping 😀")};
  mailroom_response response;
  yyjson_mut_doc *doc = mailroom_json_object();
  error = mailroom_http(&request, &response);
  if (error) {
    mailroom_json_add_text(doc, doc->root, "error", mailroom_text_of(error->words));
  } else {
    yyjson_mut_obj_add_uint(doc, doc->root, "status", response.status);
    mailroom_json_add_text(doc, doc->root, "body", response.body);
  }
  return ended(publish_result(message, doc));
}

static mailroom_outcome spin(const mailroom_message *message) {
  (void)message;
  for (volatile unsigned turns = 0;; turns++) {
  }
}

static mailroom_outcome allocate(const mailroom_message *message) {
  (void)message;
  for (;;) mailroom_alloc(1 << 20);
}

static mailroom_outcome placed(const mailroom_message *message) {
  yyjson_val *root;
  int64_t amount;
  mailroom_text currency;
  const mailroom_error *error = mailroom_json(message, &root);
  if (!error) error = mailroom_json_integer(root, "amount_cents", &amount);
  if (!error) error = mailroom_json_text(root, "currency", &currency);
  if (error) return mailroom_failed(error);
  yyjson_mut_doc *doc = mailroom_json_object();
  yyjson_mut_obj_add_sint(doc, doc->root, "amount_cents", amount);
  mailroom_json_add_text(doc, doc->root, "currency", currency);
  return ended(publish_result(message, doc));
}

static mailroom_outcome cancelled(const mailroom_message *message) {
  yyjson_mut_doc *doc = mailroom_json_object();
  mailroom_json_add_text(doc, doc->root, "cancelled_by", message->source);
  return ended(publish_result(message, doc));
}

static const mailroom_error *to_cents(yyjson_val *old_payload, yyjson_mut_doc *new_payload) {
  double amount;
  const mailroom_error *error = mailroom_json_number(old_payload, "amount", &amount);
  if (!error) yyjson_mut_obj_add_sint(new_payload, new_payload->root, "amount_cents", (int64_t)(amount * 100));
  return error;
}

static const mailroom_error *with_currency(yyjson_val *old_payload, yyjson_mut_doc *new_payload) {
  int64_t amount;
  const mailroom_error *error = mailroom_json_integer(old_payload, "amount_cents", &amount);
  if (error) return error;
  yyjson_mut_obj_add_sint(new_payload, new_payload->root, "amount_cents", amount);
  yyjson_mut_obj_add_str(new_payload, new_payload->root, "currency", "EUR");
  return NULL;
}

static const mailroom_route routes[] = {
    {"conformance.echo", NULL, NULL, echo},
    {"conformance.size", NULL, NULL, size},
    {"conformance.json", NULL, NULL, typed},
    {"conformance.completed", NULL, NULL, completed},
    {"conformance.retry-after", NULL, NULL, retry_after},
    {"conformance.uncounted", NULL, NULL, uncounted},
    {"conformance.skipped", NULL, NULL, skipped},
    {"conformance.rejected", NULL, NULL, rejected},
    {"conformance.failed", NULL, NULL, failed},
    {"conformance.uncaught", NULL, NULL, uncaught},
    {"conformance.published-then-failed", NULL, NULL, published_then_failed},
    {"conformance.publish", NULL, NULL, publish},
    {"conformance.publish-denied", NULL, NULL, publish_denied},
    {"conformance.publish-invalid", NULL, NULL, publish_invalid},
    {"conformance.state", NULL, NULL, state},
    {"conformance.state-kept", NULL, NULL, state_kept},
    {"conformance.state-invalid", NULL, NULL, state_invalid},
    {"conformance.state-no-key", NULL, NULL, state_no_key},
    {"conformance.shared", NULL, NULL, shared},
    {"conformance.shared-read", NULL, NULL, shared_read},
    {"conformance.sql", NULL, NULL, sql},
    {"conformance.sql-error", NULL, NULL, sql_error},
    {"conformance.config", NULL, NULL, config},
    {"conformance.log", NULL, NULL, write_log},
    {"conformance.http", NULL, NULL, http},
    {"conformance.spin", NULL, NULL, spin},
    {"conformance.allocate", NULL, NULL, allocate},
    {"order.placed", NULL, "3", placed},
    {"order.cancelled", "shop.*", NULL, cancelled},
};

static const mailroom_upcast upcasts[] = {
    {"order.placed", "1", "2", to_cents},
    {"order.placed", "2", "3", with_currency},
};

static const mailroom_router router = {routes, sizeof routes / sizeof *routes, upcasts, 2, "3"};

static mailroom_outcome handle(const mailroom_message *message) { return mailroom_dispatch(&router, message); }

static const char *const topics[] = {"conformance", NULL};
static const char *const event_types[] = {"conformance.**", "order.**", NULL};
static const mailroom_subscription subscriptions[] = {{.topics = topics, .event_types = event_types, .binary = true}};

const mailroom_handler mailroom_this_handler = {subscriptions, 1, handle};
