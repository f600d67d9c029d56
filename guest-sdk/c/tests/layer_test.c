#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "testing/mailroom_test.h"

static mailroom_test_host *host;

/* Calls a function as the handler, with a message of this payload and key; NULL for none. */
static const mailroom_test_result *call(mailroom_function handle, const char *key, const char *json) {
  const mailroom_handler handler = {NULL, 0, handle};
  mailroom_message message = mailroom_test_message("orders", "order.placed", json);
  message.key = mailroom_data_text(key);
  return mailroom_test_call(host, &handler, &message);
}

static bool is(const char *text, const char *expected) { return mailroom_equal(mailroom_text_of(text), expected); }

static mailroom_outcome completes(const mailroom_message *message) {
  (void)message;
  return mailroom_completed();
}

static mailroom_outcome retries(const mailroom_message *message) {
  (void)message;
  return mailroom_uncounted(mailroom_after(mailroom_retry("busy"), 2000));
}

static mailroom_outcome fails(const mailroom_message *message) {
  (void)message;
  return mailroom_fail(mailroom_format("refused %d", 7), "carrier-refused", NULL);
}

static void every_ending_reaches_the_host_as_it_was_said(void) {
  assert(call(completes, NULL, NULL)->outcome.ending == MAILROOM_COMPLETED);
  mailroom_outcome retry = call(retries, NULL, NULL)->outcome;
  assert(retry.ending == MAILROOM_RETRY && is(retry.reason, "busy") && retry.has_after);
  assert(retry.after_ms == 2000 && retry.uncounted);
  mailroom_outcome failure = call(fails, NULL, NULL)->outcome;
  assert(failure.ending == MAILROOM_FAILURE && is(failure.reason, "refused 7"));
  assert(is(failure.code, "carrier-refused") && !failure.detail);
}

static mailroom_outcome reads_an_amount(const mailroom_message *message) {
  yyjson_val *root;
  int64_t amount;
  const mailroom_error *error = mailroom_json(message, &root);
  if (!error) error = mailroom_json_integer(root, "amount", &amount);
  return error ? mailroom_failed(error) : mailroom_skip(mailroom_format("%lld", (long long)amount));
}

static void json_that_is_not_as_expected_is_rejected_with_the_reason(void) {
  static const struct {
    const char *json, *words;
    mailroom_ending ending;
  } cases[] = {
      {NULL, "message `0/0` has no payload", MAILROOM_REJECTED},
      {"{", "unexpected end of data", MAILROOM_REJECTED},
      {"[]", "`amount` is missing", MAILROOM_REJECTED},
      {"{\"amount\": \"1\"}", "`amount` is string, not an integer", MAILROOM_REJECTED},
      {"{\"amount\": 1.5}", "`amount` is real, not an integer", MAILROOM_REJECTED},
      {"{\"amount\": 9223372036854775808}", "not an integer", MAILROOM_REJECTED},
      {"{\"amount\": 9223372036854775807}", "9223372036854775807", MAILROOM_SKIPPED},
      {"{\"amount\": -1}", "-1", MAILROOM_SKIPPED},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mailroom_outcome outcome = call(reads_an_amount, NULL, cases[i].json)->outcome;
    assert(outcome.ending == cases[i].ending && strstr(outcome.reason, cases[i].words));
  }
}

static void of_repeated_headers_the_last_one_counts(void) {
  mailroom_message message = mailroom_test_message("orders", "order.placed", NULL);
  const mailroom_header headers[] = {
      {mailroom_text_of("a"), mailroom_data_text("first")},
      {mailroom_text_of("a"), mailroom_data_text("last")},
      {mailroom_text_of("empty"), mailroom_data_text(NULL)},
  };
  message.headers = headers;
  message.header_count = 3;
  assert(mailroom_equal(mailroom_header_value(&message, "a").bytes, "last"));
  assert(mailroom_header_value(&message, "empty").form == MAILROOM_ABSENT);
  assert(mailroom_header_value(&message, "missing").form == MAILROOM_ABSENT);
}

static void text_is_utf8(void) {
  static const char *const valid[] = {"", "a", "ü", "€", "😀", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"};
  static const char *const invalid[] = {"\x80",         "\xc0\x80",     "\xc3",             "\xe0\x80\x80",
                                        "\xed\xa0\x80", "\xe2\x82",     "\xf0\x80\x80\x80", "\xf4\x90\x80\x80",
                                        "\xff",         "a\xc3(", "\xf5\x80\x80\x80"};
  for (size_t i = 0; i < sizeof valid / sizeof *valid; i++) assert(mailroom_is_utf8(mailroom_text_of(valid[i])));
  for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
    assert(!mailroom_is_utf8(mailroom_text_of(invalid[i])));
  }
}

static mailroom_outcome counts(const mailroom_message *message) {
  int64_t count;
  const mailroom_error *error = mailroom_state_get_integer(MAILROOM_KEYED, "count", &count);
  if (!error) error = mailroom_state_set_integer(MAILROOM_KEYED, "count", count + 1);
  if (error) return mailroom_failed(error);
  return message->payload.form == MAILROOM_ABSENT ? mailroom_skip("a tombstone") : mailroom_completed();
}

static mailroom_outcome names(const mailroom_message *message) {
  (void)message;
  mailroom_texts found;
  const mailroom_error *error = NULL;
  for (int i = 0; i < 2500 && !error; i++) {
    error = mailroom_state_set(MAILROOM_SHARED, mailroom_format("n/%04d", i), "", 0);
  }
  if (!error) error = mailroom_state_remove(MAILROOM_SHARED, "n/0001");
  if (!error) error = mailroom_state_names(MAILROOM_SHARED, "n/", &found);
  if (error) return mailroom_failed(error);
  assert(found.count == 2499 && mailroom_equal(found.items[1], "n/0002") && mailroom_equal(found.items[2498], "n/2499"));
  return mailroom_completed();
}

static void state_is_kept_where_the_call_completes(void) {
  call(counts, "ada", "1");
  call(counts, "ada", NULL);
  assert(mailroom_equal(mailroom_test_state(host, "ada", "count").bytes, "1"));
  assert(mailroom_test_state(host, "bob", "count").form == MAILROOM_ABSENT);
  assert(call(names, NULL, "1")->outcome.ending == MAILROOM_COMPLETED);
  assert(mailroom_test_state(host, NULL, "n/0000").form == MAILROOM_BINARY);
}

static mailroom_outcome is_refused(const mailroom_message *message) {
  (void)message;
  const mailroom_outgoing elsewhere = {.topic = "elsewhere", .event_type = "x"}, nowhere = {.topic = ""};
  mailroom_request request = {.url = "http://b"};
  mailroom_response response;
  mailroom_text value;
  mailroom_table table;
  assert(mailroom_publish(&elsewhere, NULL)->kind == MAILROOM_NOT_GRANTED);
  assert(mailroom_publish(&nowhere, NULL)->kind == MAILROOM_INVALID);
  assert(mailroom_state_set(MAILROOM_KEYED, "n", "1", 1)->kind == MAILROOM_NO_KEY);
  assert(mailroom_state_set(MAILROOM_SHARED, "", "1", 1)->kind == MAILROOM_INVALID_NAME);
  assert(mailroom_http(&request, &response)->kind == MAILROOM_HTTP_DENIED);
  assert(mailroom_config("ABSENT", &value)->kind == MAILROOM_CONFIG);
  assert(is(mailroom_query("select 1", NULL, 0, &table)->sqlstate, "42501"));
  return mailroom_completed();
}

static void refusals_are_typed(void) {
  static const char *const topics[] = {"totals", NULL};
  host->topics = topics;
  assert(call(is_refused, NULL, "1")->outcome.ending == MAILROOM_COMPLETED);
}

static mailroom_outcome publishes(const mailroom_message *message) {
  mailroom_text first, second;
  yyjson_mut_doc *doc = mailroom_json_object();
  mailroom_json_add_text(doc, doc->root, "text", mailroom_text_of("a\xff"));
  mailroom_outgoing once = {.topic = "totals", .event_type = "x", .key = message->key, .idempotency_key = "once"};
  assert(!mailroom_publish_json(&once, doc, &first) && !mailroom_publish(&once, &second));
  assert(mailroom_equal(first, mailroom_cstr(second)));
  mailroom_log(MAILROOM_WARN, "orders", "%zu bytes", first.len);
  return mailroom_completed();
}

static void messages_and_lines_are_kept(void) {
  const mailroom_test_result *result = call(publishes, "ada", "1");
  assert(result->published_count == 1 && result->line_count == 1);
  assert(is(result->published[0].message.content_type, "application/json"));
  assert(mailroom_equal(result->published[0].message.payload.bytes, "{\"text\":\"a\xef\xbf\xbd\"}"));
  assert(result->lines[0].level == MAILROOM_WARN && is(result->lines[0].text, "36 bytes"));
}

static const mailroom_error *echo_params(const char *statement, const mailroom_value *params, size_t count,
                                         mailroom_table *table) {
  static const mailroom_text columns[] = {{"a", 1}, {"b", 1}};
  (void)statement;
  table->columns = columns;
  table->column_count = 2;
  table->values = params;
  table->row_count = count / 2;
  return NULL;
}

static mailroom_outcome queries(const mailroom_message *message) {
  (void)message;
  const mailroom_value params[] = {mailroom_sql_boolean(true), mailroom_sql_null(), mailroom_sql_integer(7),
                                   mailroom_sql_text(mailroom_text_of("ü"))};
  mailroom_table table;
  assert(!mailroom_query("", params, 4, &table) && table.row_count == 2);
  assert(mailroom_table_at(&table, 0, 0)->boolean && mailroom_table_named(&table, 0, "b")->kind == MAILROOM_SQL_NULL);
  assert(mailroom_table_named(&table, 1, "a")->integer == 7 && !mailroom_table_named(&table, 1, "c"));
  assert(mailroom_equal(mailroom_table_at(&table, 1, 1)->bytes, "ü") && !mailroom_table_at(&table, 2, 0));
  return mailroom_completed();
}

static void sql_values_go_there_and_back(void) {
  host->on_query = echo_params;
  assert(call(queries, NULL, "1")->outcome.ending == MAILROOM_COMPLETED);
}

static mailroom_outcome placed(const mailroom_message *message) {
  return mailroom_skip(mailroom_format("placed %s", mailroom_cstr(message->payload.bytes)));
}

static mailroom_outcome cancelled(const mailroom_message *message) {
  return mailroom_skip(mailroom_format("cancelled %s", mailroom_cstr(message->source)));
}

static const mailroom_error *to_cents(yyjson_val *old_payload, yyjson_mut_doc *new_payload) {
  double amount;
  const mailroom_error *error = mailroom_json_number(old_payload, "amount", &amount);
  if (!error) yyjson_mut_obj_add_sint(new_payload, new_payload->root, "cents", (int64_t)(amount * 100));
  return error;
}

static const mailroom_error *with_currency(yyjson_val *old_payload, yyjson_mut_doc *new_payload) {
  int64_t cents;
  const mailroom_error *error = mailroom_json_integer(old_payload, "cents", &cents);
  yyjson_mut_obj_add_sint(new_payload, new_payload->root, "cents", cents);
  yyjson_mut_obj_add_str(new_payload, new_payload->root, "currency", "EUR");
  return error;
}

static mailroom_outcome dispatches(const mailroom_message *message) {
  static const mailroom_route routes[] = {{"order.placed", NULL, "3", placed},
                                          {"order.cancelled", "shop.*", NULL, cancelled}};
  static const mailroom_upcast upcasts[] = {{"order.placed", "1", "2", to_cents},
                                            {"order.placed", "2", "3", with_currency}};
  static const mailroom_router router = {routes, 2, upcasts, 2, "3"};
  return mailroom_dispatch(&router, message);
}

static void a_router_upcasts_and_chooses(void) {
  static const struct {
    const char *event_type, *source, *version, *json, *words;
  } cases[] = {
      {"order.placed", "x", "1.4", "{\"amount\": 12.5}", "placed {\"cents\":1250,\"currency\":\"EUR\"}"},
      {"order.placed", "x", "2", "{\"cents\": 7}", "placed {\"cents\":7,\"currency\":\"EUR\"}"},
      {"order.placed", "x", "3.1", "{}", "placed {}"},
      {"order.placed", "x", NULL, "{}", "placed {}"},
      {"order.placed", "x", "30", "{}", "no route for `order.placed` from `x`, schema version `30`"},
      {"order.cancelled", "shop.eu", NULL, "{}", "cancelled shop.eu"},
      {"order.cancelled", "shop", NULL, "{}", "no route for `order.cancelled` from `shop`, schema version `3`"},
      {"order.cancelled", "shop.eu.x", NULL, "{}", "no route for `order.cancelled` from `shop.eu.x`, schema version `3`"},
  };
  const mailroom_handler handler = {NULL, 0, dispatches};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mailroom_message message = mailroom_test_message("orders", cases[i].event_type, cases[i].json);
    message.source = mailroom_text_of(cases[i].source);
    message.schema_version = mailroom_text_of(cases[i].version);
    assert(is(mailroom_test_call(host, &handler, &message)->outcome.reason, cases[i].words));
  }
  mailroom_message message = mailroom_test_message("orders", "order.placed", "{\"amount\": null}");
  message.schema_version = mailroom_text_of("1");
  assert(mailroom_test_call(host, &handler, &message)->outcome.ending == MAILROOM_REJECTED);
}

static const char *pattern;

static mailroom_outcome matches_pattern(const mailroom_message *message) {
  const mailroom_route route = {pattern, NULL, NULL, completes};
  const mailroom_router router = {&route, 1, NULL, 0, NULL};
  return mailroom_dispatch(&router, message);
}

static void names_match_by_segments(void) {
  static const struct {
    const char *pattern, *name;
    bool matches;
  } cases[] = {
      {"order.placed", "order.placed", true},   {"order.placed", "order", false},
      {"order", "order.placed", false},         {"order.*", "order.placed", true},
      {"order.*", "order.placed.late", false},  {"*.placed", "order.placed", true},
      {"order.**", "order.placed.late", true},  {"order.**", "order", true},
      {"**", "anything.at.all", true},          {"**.placed", "a.placed", false},
      {"ord*", "order", false},                 {NULL, "order", true},
  };
  const mailroom_handler handler = {NULL, 0, matches_pattern};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mailroom_message message = mailroom_test_message("orders", cases[i].name, NULL);
    pattern = cases[i].pattern;
    bool completed = mailroom_test_call(host, &handler, &message)->outcome.ending == MAILROOM_COMPLETED;
    assert(completed == cases[i].matches);
  }
}

int main(void) {
  static void (*const tests[])(void) = {
      every_ending_reaches_the_host_as_it_was_said,
      json_that_is_not_as_expected_is_rejected_with_the_reason,
      of_repeated_headers_the_last_one_counts,
      text_is_utf8,
      state_is_kept_where_the_call_completes,
      refusals_are_typed,
      messages_and_lines_are_kept,
      sql_values_go_there_and_back,
      a_router_upcasts_and_chooses,
      names_match_by_segments,
  };
  for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
    host = mailroom_test_new();
    tests[i]();
    mailroom_test_free(host);
  }
  printf("%zu tests\n", sizeof tests / sizeof *tests);
  return 0;
}
