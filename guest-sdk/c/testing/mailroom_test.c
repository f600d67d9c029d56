#include "mailroom_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mailroom_host.h"

/* A value in state, or an idempotency key with its id. Newer entries hide older ones of the same name. */
typedef struct entry {
  struct entry *before;
  const char *scope; /* the key; NULL for shared state */
  const char *name;
  mailroom_data value; /* absent where it was removed */
} entry;

typedef struct block {
  struct block *before;
} block;

struct mailroom_test_memory {
  block *blocks;
  const entry *state;
  const entry *emitted;
  const char *key; /* of the call under way; NULL for none */
  mailroom_test_result *result;
  size_t ids;
};

static mailroom_test_host *current;

static void *keep(size_t size) {
  block *kept = calloc(1, sizeof(block) + 16 + size);
  if (!kept) abort();
  kept->before = current->memory->blocks;
  current->memory->blocks = kept;
  return (char *)kept + 16;
}

static mailroom_text keep_text(mailroom_text text) {
  if (!text.ptr) return text;
  char *copy = keep(text.len + 1);
  if (text.len) memcpy(copy, text.ptr, text.len);
  mailroom_text kept = {copy, text.len};
  return kept;
}

static const char *keep_cstr(const char *text) { return keep_text(mailroom_text_of(text)).ptr; }

static mailroom_data keep_data(mailroom_data data) {
  data.bytes = keep_text(data.bytes);
  return data;
}

static bool same(const char *one, const char *other) { return one && other ? strcmp(one, other) == 0 : one == other; }

static mailroom_data find(const entry *entries, const char *scope, const char *name) {
  for (; entries; entries = entries->before) {
    if (same(entries->scope, scope) && same(entries->name, name)) return entries->value;
  }
  mailroom_data absent = {MAILROOM_ABSENT, {NULL, 0}};
  return absent;
}

static void add(const entry **entries, const char *scope, const char *name, mailroom_data value) {
  entry *added = keep(sizeof *added);
  added->before = (entry *)*entries;
  added->scope = keep_cstr(scope);
  added->name = keep_cstr(name);
  added->value = keep_data(value);
  *entries = added;
}

/* ---- What a call reaches ---- */

const mailroom_error *mailroom_host_publish(const mailroom_outgoing *message, mailroom_text *id) {
  mailroom_test_memory *memory = current->memory;
  const char *topic = message->topic ? message->topic : "";
  if (!*topic) return mailroom_publish_error(MAILROOM_INVALID, topic, 0, "the topic is empty");
  bool granted = !current->topics;
  for (size_t i = 0; !granted && current->topics[i]; i++) granted = same(current->topics[i], topic);
  if (!granted) return mailroom_publish_error(MAILROOM_NOT_GRANTED, topic, 0, "");
  if (message->idempotency_key) {
    mailroom_data used = find(memory->emitted, NULL, message->idempotency_key);
    if (used.form != MAILROOM_ABSENT) {
      *id = used.bytes;
      return NULL;
    }
  }
  const char *made = keep_cstr(mailroom_format("00000000-0000-4000-9000-%012zu", ++memory->ids));
  if (message->idempotency_key) add(&memory->emitted, NULL, message->idempotency_key, mailroom_data_text(made));
  mailroom_test_result *result = memory->result;
  mailroom_test_published *all = keep((result->published_count + 1) * sizeof *all);
  if (result->published_count) memcpy(all, result->published, result->published_count * sizeof *all);
  mailroom_outgoing *copy = &all[result->published_count].message;
  mailroom_header *headers = keep(message->header_count * sizeof *headers);
  for (size_t i = 0; i < message->header_count; i++) {
    headers[i].name = keep_text(message->headers[i].name);
    headers[i].value = keep_data(message->headers[i].value);
  }
  *copy = *message;
  copy->topic = keep_cstr(topic);
  copy->event_type = keep_cstr(message->event_type);
  copy->key = keep_data(message->key);
  copy->payload = keep_data(message->payload);
  copy->content_type = keep_cstr(message->content_type);
  copy->headers = headers;
  copy->schema_version = keep_cstr(message->schema_version);
  copy->idempotency_key = keep_cstr(message->idempotency_key);
  all[result->published_count++].id = made;
  result->published = all;
  *id = mailroom_text_of(made);
  return NULL;
}

/* Why a name cannot be used. */
static const mailroom_error *state_refused(mailroom_scope scope, const char *name) {
  if (current->state_denied) return mailroom_state_error(MAILROOM_NOT_GRANTED, name, 0, "");
  if (scope == MAILROOM_KEYED && !current->memory->key) return mailroom_state_error(MAILROOM_NO_KEY, name, 0, "");
  return NULL;
}

static const mailroom_error *name_refused(mailroom_scope scope, const char *name) {
  const mailroom_error *error = state_refused(scope, name);
  if (error || *name) return error;
  return mailroom_state_error(MAILROOM_INVALID_NAME, name, 0, "the name is empty");
}

static const char *key_of(mailroom_scope scope) { return scope == MAILROOM_KEYED ? current->memory->key : NULL; }

const mailroom_error *mailroom_host_state_get(mailroom_scope scope, const char *name, mailroom_data *value) {
  *value = find(current->memory->state, key_of(scope), name);
  return name_refused(scope, name);
}

const mailroom_error *mailroom_host_state_set(mailroom_scope scope, const char *name, mailroom_text value) {
  const mailroom_error *error = name_refused(scope, name);
  if (!error) add(&current->memory->state, key_of(scope), name, mailroom_data_bytes(value.ptr ? value.ptr : "", value.len));
  return error;
}

const mailroom_error *mailroom_host_state_remove(mailroom_scope scope, const char *name) {
  mailroom_data absent = {MAILROOM_ABSENT, {NULL, 0}};
  const mailroom_error *error = name_refused(scope, name);
  if (!error) add(&current->memory->state, key_of(scope), name, absent);
  return error;
}

static int by_name(const void *one, const void *other) {
  return strcmp(((const mailroom_text *)one)->ptr, ((const mailroom_text *)other)->ptr);
}

const mailroom_error *mailroom_host_state_names(mailroom_scope scope, const char *prefix, mailroom_text after,
                                                uint32_t limit, mailroom_texts *names) {
  const mailroom_error *error = state_refused(scope, prefix);
  const entry *entries = current->memory->state;
  size_t count = 0, kept = 0;
  if (error) return error;
  for (const entry *each = entries; each; each = each->before) count++;
  names->items = keep(count * sizeof *names->items);
  for (const entry *each = entries; each; each = each->before) {
    bool is_there = same(each->scope, key_of(scope)) && strncmp(each->name, prefix, strlen(prefix)) == 0 &&
                    find(entries, each->scope, each->name).form != MAILROOM_ABSENT &&
                    (!after.ptr || strcmp(each->name, after.ptr) > 0);
    for (size_t i = 0; is_there && i < kept; i++) is_there = !mailroom_equal(names->items[i], each->name);
    if (is_there) names->items[kept++] = mailroom_text_of(each->name);
  }
  qsort(names->items, kept, sizeof *names->items, by_name);
  names->count = kept < limit ? kept : limit;
  return NULL;
}

static const mailroom_error *no_sql(void) {
  return mailroom_sql_error("42501", "this host has no SQL: set on_query and on_execute");
}

const mailroom_error *mailroom_host_query(const char *statement, const mailroom_value *params, size_t count,
                                          mailroom_table *table) {
  return current->on_query ? current->on_query(statement, params, count, table) : no_sql();
}

const mailroom_error *mailroom_host_execute(const char *statement, const mailroom_value *params, size_t count,
                                            uint64_t *rows) {
  return current->on_execute ? current->on_execute(statement, params, count, rows) : no_sql();
}

const mailroom_error *mailroom_host_config(const char *key, mailroom_text *value) {
  for (size_t i = 0; i < current->setting_count; i++) {
    if (mailroom_equal(current->settings[i].key, key)) {
      *value = current->settings[i].value;
      return NULL;
    }
  }
  return mailroom_error_new(MAILROOM_CONFIG, "this host has no value for %s", key);
}

const mailroom_error *mailroom_host_config_all(mailroom_settings *settings) {
  settings->items = (mailroom_setting *)current->settings;
  settings->count = current->setting_count;
  return NULL;
}

void mailroom_host_log(mailroom_level level, const char *context, const char *text) {
  mailroom_test_result *result = current->memory->result;
  mailroom_test_line *all = keep((result->line_count + 1) * sizeof *all);
  if (result->line_count) memcpy(all, result->lines, result->line_count * sizeof *all);
  all[result->line_count].level = level;
  all[result->line_count].context = keep_cstr(context);
  all[result->line_count++].text = keep_cstr(text);
  result->lines = all;
}

const mailroom_error *mailroom_host_http(const mailroom_request *request, mailroom_response *response) {
  if (current->on_http) return current->on_http(request, response);
  return mailroom_http_error(MAILROOM_HTTP_DENIED, request->url, 0, "");
}

/* ---- Calls ---- */

mailroom_test_host *mailroom_test_new(void) {
  mailroom_test_host *host = calloc(1, sizeof *host);
  if (!host) abort();
  host->memory = calloc(1, sizeof *host->memory);
  if (!host->memory) abort();
  return host;
}

void mailroom_test_free(mailroom_test_host *host) {
  while (host->memory->blocks) {
    block *before = host->memory->blocks->before;
    free(host->memory->blocks);
    host->memory->blocks = before;
  }
  free(host->memory);
  free(host);
}

mailroom_message mailroom_test_message(const char *topic, const char *event_type, const char *json) {
  mailroom_message message;
  memset(&message, 0, sizeof message);
  message.id = mailroom_text_of("00000000-0000-4000-8000-000000000001");
  message.message_id = mailroom_text_of("0/0");
  message.event_type = mailroom_text_of(event_type);
  message.source = mailroom_text_of(topic);
  message.topic = mailroom_text_of(topic);
  message.payload = mailroom_data_text(json);
  message.attempt = 1;
  message.max_attempts = 6;
  message.delivery = 1;
  return message;
}

const mailroom_test_result *mailroom_test_call(mailroom_test_host *host, const mailroom_handler *handler,
                                               const mailroom_message *message) {
  mailroom_test_memory *memory = host->memory;
  current = host;
  const entry *state = memory->state, *emitted = memory->emitted;
  mailroom_test_result *result = keep(sizeof *result);
  memory->result = result;
  memory->key = message->key.form == MAILROOM_ABSENT ? NULL : keep_text(message->key.bytes).ptr;
  mailroom_outcome outcome = handler->handle(message);
  outcome.reason = keep_cstr(outcome.reason);
  outcome.code = keep_cstr(outcome.code);
  outcome.detail = keep_cstr(outcome.detail);
  result->outcome = outcome;
  if (outcome.ending != MAILROOM_COMPLETED) {
    memory->state = state;
    memory->emitted = emitted;
    result->published_count = 0;
  }
  mailroom_call_ends();
  return result;
}

mailroom_data mailroom_test_state(const mailroom_test_host *host, const char *key, const char *name) {
  return find(host->memory->state, key, name);
}
