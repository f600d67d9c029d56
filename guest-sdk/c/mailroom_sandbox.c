/* The host of a component: this layer over the generated bindings. What the bindings give is copied into the call's
 * memory and freed at once; only the message is kept as it came until the call ends. */
#include <stdlib.h>
#include <string.h>

#include "bindings/full_handler.h"
#include "mailroom_host.h"

/* The bindings ask for an object file with the world's type, which the command that makes the component embeds instead. */
void __component_type_object_force_link_full_handler(void);
void __component_type_object_force_link_full_handler(void) {}

typedef full_handler_string_t string;

/* Text for the host, which must be UTF-8: a string that is not would be a trap. */
static string lend(mailroom_text text) {
  mailroom_text valid = mailroom_valid(text);
  string lent = {(uint8_t *)valid.ptr, valid.len};
  return lent;
}

static string lend_cstr(const char *text) { return lend(mailroom_text_of(text ? text : "")); }

static full_handler_option_string_t lend_option(const char *text) {
  full_handler_option_string_t option = {text != NULL, lend_cstr(text)};
  return option;
}

static const char *copied(string text) { return mailroom_copy(text.ptr, text.len).ptr; }

static mailroom_text seen(string text) {
  mailroom_text view = {text.ptr ? (const char *)text.ptr : "", text.len};
  return view;
}

static mailroom_text seen_option(full_handler_option_string_t option) {
  mailroom_text none = {NULL, 0};
  return option.is_some ? seen(option.val) : none;
}

/* ---- Messages to and fro ---- */

static mailroom_contract_types_data_t lend_data(mailroom_data data) {
  mailroom_contract_types_data_t lent;
  bool is_text = data.form == MAILROOM_TEXT && mailroom_is_utf8(data.bytes);
  lent.tag = is_text ? MAILROOM_CONTRACT_TYPES_DATA_TEXT : MAILROOM_CONTRACT_TYPES_DATA_BINARY;
  lent.val.binary.ptr = (uint8_t *)data.bytes.ptr;
  lent.val.binary.len = data.bytes.len;
  return lent;
}

static mailroom_data seen_data(bool is_some, const mailroom_contract_types_data_t *data) {
  mailroom_data view = {MAILROOM_ABSENT, {NULL, 0}};
  if (!is_some) return view;
  view.form = data->tag == MAILROOM_CONTRACT_TYPES_DATA_TEXT ? MAILROOM_TEXT : MAILROOM_BINARY;
  view.bytes = seen(data->val.text);
  return view;
}

const mailroom_error *mailroom_host_publish(const mailroom_outgoing *message, mailroom_text *id) {
  mailroom_contract_outbox_header_t *headers = mailroom_alloc(message->header_count * sizeof *headers);
  for (size_t i = 0; i < message->header_count; i++) {
    headers[i].name = lend(message->headers[i].name);
    headers[i].value.is_some = message->headers[i].value.form != MAILROOM_ABSENT;
    headers[i].value.val = lend_data(message->headers[i].value);
  }
  mailroom_contract_outbox_outgoing_t outgoing;
  outgoing.topic = lend_cstr(message->topic);
  outgoing.event_type = lend_cstr(message->event_type);
  outgoing.key.is_some = message->key.form != MAILROOM_ABSENT;
  outgoing.key.val = lend_data(message->key);
  outgoing.payload.is_some = message->payload.form != MAILROOM_ABSENT;
  outgoing.payload.val = lend_data(message->payload);
  outgoing.content_type = lend_option(message->content_type);
  outgoing.headers.ptr = headers;
  outgoing.headers.len = message->header_count;
  outgoing.schema_version = lend_option(message->schema_version);
  outgoing.idempotency_key = lend_option(message->idempotency_key);
  outgoing.delay_ms.is_some = message->delay_ms > 0;
  outgoing.delay_ms.val = message->delay_ms;
  string given;
  mailroom_contract_outbox_publish_error_t refused;
  if (mailroom_contract_outbox_publish(&outgoing, &given, &refused)) {
    *id = mailroom_copy(given.ptr, given.len);
    full_handler_string_free(&given);
    return NULL;
  }
  const char *topic = message->topic ? message->topic : "";
  const mailroom_error *error;
  switch (refused.tag) {
    case MAILROOM_CONTRACT_OUTBOX_PUBLISH_ERROR_NOT_GRANTED:
      error = mailroom_publish_error(MAILROOM_NOT_GRANTED, topic, 0, "");
      break;
    case MAILROOM_CONTRACT_OUTBOX_PUBLISH_ERROR_TOO_LARGE:
      error = mailroom_publish_error(MAILROOM_TOO_LARGE, topic, refused.val.too_large, "");
      break;
    case MAILROOM_CONTRACT_OUTBOX_PUBLISH_ERROR_TOO_MANY:
      error = mailroom_publish_error(MAILROOM_TOO_MANY, topic, refused.val.too_many, "");
      break;
    default:
      error = mailroom_publish_error(MAILROOM_INVALID, topic, 0, copied(refused.val.invalid));
  }
  mailroom_contract_outbox_publish_error_free(&refused);
  return error;
}

/* ---- State ---- */

static const mailroom_error *state_refused(const char *name, mailroom_contract_state_state_error_t *refused) {
  const mailroom_error *error;
  switch (refused->tag) {
    case MAILROOM_CONTRACT_STATE_STATE_ERROR_NOT_GRANTED:
      error = mailroom_state_error(MAILROOM_NOT_GRANTED, name, 0, "");
      break;
    case MAILROOM_CONTRACT_STATE_STATE_ERROR_NO_KEY:
      error = mailroom_state_error(MAILROOM_NO_KEY, name, 0, "");
      break;
    case MAILROOM_CONTRACT_STATE_STATE_ERROR_TOO_LARGE:
      error = mailroom_state_error(MAILROOM_TOO_LARGE, name, refused->val.too_large, "");
      break;
    case MAILROOM_CONTRACT_STATE_STATE_ERROR_TOO_MANY:
      error = mailroom_state_error(MAILROOM_TOO_MANY, name, refused->val.too_many, "");
      break;
    default:
      error = mailroom_state_error(MAILROOM_INVALID_NAME, name, 0, copied(refused->val.invalid_name));
  }
  mailroom_contract_state_state_error_free(refused);
  return error;
}

const mailroom_error *mailroom_host_state_get(mailroom_scope scope, const char *name, mailroom_data *value) {
  string wanted = lend_cstr(name);
  full_handler_option_list_u8_t found;
  mailroom_contract_state_state_error_t refused;
  if (!mailroom_contract_state_get((uint8_t)scope, &wanted, &found, &refused)) return state_refused(name, &refused);
  if (found.is_some) {
    value->form = MAILROOM_BINARY;
    value->bytes = mailroom_copy(found.val.ptr, found.val.len);
  }
  full_handler_option_list_u8_free(&found);
  return NULL;
}

const mailroom_error *mailroom_host_state_set(mailroom_scope scope, const char *name, mailroom_text value) {
  string wanted = lend_cstr(name);
  full_handler_list_u8_t bytes = {(uint8_t *)value.ptr, value.len};
  mailroom_contract_state_state_error_t refused;
  bool done = mailroom_contract_state_set((uint8_t)scope, &wanted, &bytes, &refused);
  return done ? NULL : state_refused(name, &refused);
}

const mailroom_error *mailroom_host_state_remove(mailroom_scope scope, const char *name) {
  string wanted = lend_cstr(name);
  mailroom_contract_state_state_error_t refused;
  bool done = mailroom_contract_state_remove((uint8_t)scope, &wanted, &refused);
  return done ? NULL : state_refused(name, &refused);
}

const mailroom_error *mailroom_host_state_names(mailroom_scope scope, const char *prefix, mailroom_text after,
                                                uint32_t limit, mailroom_texts *names) {
  string wanted = lend_cstr(prefix), behind = lend(after);
  full_handler_list_string_t found;
  mailroom_contract_state_state_error_t refused;
  if (!mailroom_contract_state_names((uint8_t)scope, &wanted, after.ptr ? &behind : NULL, limit, &found, &refused)) {
    return state_refused(prefix, &refused);
  }
  names->items = mailroom_alloc(found.len * sizeof *names->items);
  names->count = found.len;
  for (size_t i = 0; i < found.len; i++) names->items[i] = mailroom_copy(found.ptr[i].ptr, found.ptr[i].len);
  full_handler_list_string_free(&found);
  return NULL;
}

/* ---- SQL ---- */

static const mailroom_error *sql_refused(mailroom_contract_sql_sql_error_t *refused) {
  const mailroom_error *error = mailroom_sql_error(copied(refused->sqlstate), copied(refused->message));
  mailroom_contract_sql_sql_error_free(refused);
  return error;
}

static mailroom_contract_sql_list_value_t lend_params(const mailroom_value *params, size_t count) {
  mailroom_contract_sql_list_value_t lent = {mailroom_alloc(count * sizeof *lent.ptr), count};
  for (size_t i = 0; i < count; i++) {
    mailroom_contract_sql_value_t *value = &lent.ptr[i];
    switch (params[i].kind) {
      case MAILROOM_SQL_NULL:
        value->tag = MAILROOM_CONTRACT_SQL_VALUE_NULL;
        break;
      case MAILROOM_SQL_BOOLEAN:
        value->tag = MAILROOM_CONTRACT_SQL_VALUE_BOOLEAN;
        value->val.boolean = params[i].boolean;
        break;
      case MAILROOM_SQL_INTEGER:
        value->tag = MAILROOM_CONTRACT_SQL_VALUE_INTEGER;
        value->val.integer = params[i].integer;
        break;
      case MAILROOM_SQL_FLOAT:
        value->tag = MAILROOM_CONTRACT_SQL_VALUE_FLOAT;
        value->val.float_ = params[i].number;
        break;
      case MAILROOM_SQL_TEXT:
        value->tag = MAILROOM_CONTRACT_SQL_VALUE_TEXT;
        value->val.text = lend(params[i].bytes);
        break;
      case MAILROOM_SQL_BYTES:
        value->tag = MAILROOM_CONTRACT_SQL_VALUE_BYTES;
        value->val.bytes.ptr = (uint8_t *)params[i].bytes.ptr;
        value->val.bytes.len = params[i].bytes.len;
        break;
    }
  }
  return lent;
}

static mailroom_value copied_value(const mailroom_contract_sql_value_t *value) {
  switch (value->tag) {
    case MAILROOM_CONTRACT_SQL_VALUE_BOOLEAN:
      return mailroom_sql_boolean(value->val.boolean);
    case MAILROOM_CONTRACT_SQL_VALUE_INTEGER:
      return mailroom_sql_integer(value->val.integer);
    case MAILROOM_CONTRACT_SQL_VALUE_FLOAT:
      return mailroom_sql_float(value->val.float_);
    case MAILROOM_CONTRACT_SQL_VALUE_TEXT:
      return mailroom_sql_text(mailroom_copy(value->val.text.ptr, value->val.text.len));
    case MAILROOM_CONTRACT_SQL_VALUE_BYTES:
      return mailroom_sql_bytes(copied(value->val.text), value->val.bytes.len);
    default:
      return mailroom_sql_null();
  }
}

const mailroom_error *mailroom_host_query(const char *statement, const mailroom_value *params, size_t count,
                                          mailroom_table *table) {
  string asked = lend_cstr(statement);
  mailroom_contract_sql_list_value_t lent = lend_params(params, count);
  mailroom_contract_sql_table_t found;
  mailroom_contract_sql_sql_error_t refused;
  if (!mailroom_contract_sql_query(&asked, &lent, &found, &refused)) return sql_refused(&refused);
  mailroom_text *columns = mailroom_alloc(found.columns.len * sizeof *columns);
  mailroom_value *values = mailroom_alloc(found.columns.len * found.rows.len * sizeof *values);
  for (size_t i = 0; i < found.columns.len; i++) {
    columns[i] = mailroom_copy(found.columns.ptr[i].ptr, found.columns.ptr[i].len);
  }
  for (size_t row = 0; row < found.rows.len; row++) {
    for (size_t i = 0; i < found.columns.len; i++) {
      values[row * found.columns.len + i] = copied_value(&found.rows.ptr[row].ptr[i]);
    }
  }
  table->columns = columns;
  table->column_count = found.columns.len;
  table->values = values;
  table->row_count = found.rows.len;
  mailroom_contract_sql_table_free(&found);
  return NULL;
}

const mailroom_error *mailroom_host_execute(const char *statement, const mailroom_value *params, size_t count,
                                            uint64_t *rows) {
  string asked = lend_cstr(statement);
  mailroom_contract_sql_list_value_t lent = lend_params(params, count);
  mailroom_contract_sql_sql_error_t refused;
  return mailroom_contract_sql_execute(&asked, &lent, rows, &refused) ? NULL : sql_refused(&refused);
}

/* ---- Configuration and log ---- */

static const mailroom_error *config_refused(wasi_config_store_error_t *refused) {
  /* Both cases are words. */
  const mailroom_error *error = mailroom_error_new(MAILROOM_CONFIG, "%s", copied(refused->val.upstream));
  wasi_config_store_error_free(refused);
  return error;
}

const mailroom_error *mailroom_host_config(const char *key, mailroom_text *value) {
  string wanted = lend_cstr(key);
  full_handler_option_string_t found;
  wasi_config_store_error_t refused;
  if (!wasi_config_store_get(&wanted, &found, &refused)) return config_refused(&refused);
  if (found.is_some) *value = mailroom_copy(found.val.ptr, found.val.len);
  full_handler_option_string_free(&found);
  return NULL;
}

const mailroom_error *mailroom_host_config_all(mailroom_settings *settings) {
  full_handler_list_tuple2_string_string_t found;
  wasi_config_store_error_t refused;
  if (!wasi_config_store_get_all(&found, &refused)) return config_refused(&refused);
  settings->items = mailroom_alloc(found.len * sizeof *settings->items);
  settings->count = found.len;
  for (size_t i = 0; i < found.len; i++) {
    settings->items[i].key = mailroom_copy(found.ptr[i].f0.ptr, found.ptr[i].f0.len);
    settings->items[i].value = mailroom_copy(found.ptr[i].f1.ptr, found.ptr[i].f1.len);
  }
  full_handler_list_tuple2_string_string_free(&found);
  return NULL;
}

void mailroom_host_log(mailroom_level level, const char *context, const char *text) {
  string of = lend_cstr(context), line = lend_cstr(text);
  wasi_logging_logging_log((uint8_t)level, &of, &line);
}

/* ---- The exports. What they give is freed by the bindings, so it is allocated apart from the call's memory. ---- */

static void *kept(size_t size) {
  void *memory = calloc(1, size ? size : 1);
  if (!memory) abort();
  return memory;
}

static string kept_string(const char *text) {
  string lent = lend_cstr(text);
  string given = {kept(lent.len), lent.len};
  if (lent.len) memcpy(given.ptr, lent.ptr, lent.len);
  return given;
}

static full_handler_option_string_t kept_option(const char *text) {
  full_handler_option_string_t option = {text != NULL, {NULL, 0}};
  if (text) option.val = kept_string(text);
  return option;
}

static full_handler_list_string_t kept_list(const char *const *texts) {
  full_handler_list_string_t list = {NULL, 0};
  while (texts && texts[list.len]) list.len++;
  if (list.len) list.ptr = kept(list.len * sizeof *list.ptr);
  for (size_t i = 0; i < list.len; i++) list.ptr[i] = kept_string(texts[i]);
  return list;
}

void exports_mailroom_contract_handler_subscriptions(exports_mailroom_contract_handler_list_subscription_t *ret) {
  ret->len = mailroom_this_handler.subscription_count;
  ret->ptr = kept(ret->len * sizeof *ret->ptr);
  for (size_t i = 0; i < ret->len; i++) {
    const mailroom_subscription *from = &mailroom_this_handler.subscriptions[i];
    ret->ptr[i].topics = kept_list(from->topics);
    ret->ptr[i].event_types = kept_list(from->event_types);
    ret->ptr[i].sources = kept_list(from->sources);
    ret->ptr[i].schema_versions = kept_list(from->schema_versions);
    ret->ptr[i].form = from->binary ? MAILROOM_CONTRACT_TYPES_FORM_BINARY : MAILROOM_CONTRACT_TYPES_FORM_TEXT;
  }
  mailroom_call_ends();
}

static mailroom_message seen_message(const exports_mailroom_contract_handler_message_t *from) {
  mailroom_header *headers = mailroom_alloc(from->headers.len * sizeof *headers);
  for (size_t i = 0; i < from->headers.len; i++) {
    headers[i].name = seen(from->headers.ptr[i].name);
    headers[i].value = seen_data(from->headers.ptr[i].value.is_some, &from->headers.ptr[i].value.val);
  }
  mailroom_message message = {
      .id = seen(from->id),
      .message_id = seen(from->message_id),
      .event_type = seen(from->event_type),
      .source = seen(from->source),
      .schema_version = seen_option(from->schema_version),
      .topic = seen(from->position.topic),
      .partition = from->position.partition,
      .offset = from->position.offset,
      .key = seen_data(from->key.is_some, &from->key.val),
      .payload = seen_data(from->payload.is_some, &from->payload.val),
      .content_type = seen_option(from->content_type),
      .headers = headers,
      .header_count = from->headers.len,
      .produced_at_ms = from->produced_at_ms,
      .correlation_id = seen_option(from->correlation_id),
      .causation_id = seen_option(from->causation_id),
      .traceparent = seen_option(from->traceparent),
      .attempt = from->attempt,
      .max_attempts = from->max_attempts,
      .delivery = from->delivery,
  };
  return message;
}

bool exports_mailroom_contract_handler_handle(exports_mailroom_contract_handler_message_t *from,
                                              exports_mailroom_contract_handler_outcome_t *ret,
                                              exports_mailroom_contract_handler_failure_t *err) {
  mailroom_message message = seen_message(from);
  mailroom_outcome outcome = mailroom_this_handler.handle(&message);
  bool is_answer = true;
  switch (outcome.ending) {
    case MAILROOM_COMPLETED:
      ret->tag = MAILROOM_CONTRACT_TYPES_OUTCOME_COMPLETED;
      break;
    case MAILROOM_RETRY:
      ret->tag = MAILROOM_CONTRACT_TYPES_OUTCOME_RETRY;
      ret->val.retry.reason = kept_string(outcome.reason);
      ret->val.retry.after_ms.is_some = outcome.has_after;
      ret->val.retry.after_ms.val = outcome.after_ms;
      ret->val.retry.counts = !outcome.uncounted;
      break;
    case MAILROOM_SKIPPED:
      ret->tag = MAILROOM_CONTRACT_TYPES_OUTCOME_SKIPPED;
      ret->val.skipped = kept_string(outcome.reason);
      break;
    case MAILROOM_REJECTED:
      ret->tag = MAILROOM_CONTRACT_TYPES_OUTCOME_REJECTED;
      ret->val.rejected = kept_string(outcome.reason);
      break;
    case MAILROOM_FAILURE:
      err->message = kept_string(outcome.reason);
      err->code = kept_option(outcome.code);
      err->detail = kept_option(outcome.detail);
      is_answer = false;
      break;
  }
  exports_mailroom_contract_handler_message_free(from);
  mailroom_call_ends();
  return is_answer;
}
