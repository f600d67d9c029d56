#include "mailroom.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mailroom_host.h"

/* ---- Memory ---- */

#define CHUNK_SIZE ((size_t)16 << 10)
#define ALIGNMENT ((size_t)16)

typedef struct chunk {
  struct chunk *before;
  size_t used;
  size_t size;
} chunk;

static chunk *newest;

static size_t aligned(size_t size) { return (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1); }

static void *take(size_t size) {
  const size_t header = aligned(sizeof(chunk));
  if (size > SIZE_MAX / 2) size = SIZE_MAX / 2;
  size = aligned(size);
  if (!newest || newest->size - newest->used < size) {
    size_t room = header + (size > CHUNK_SIZE ? size : CHUNK_SIZE);
    chunk *next = malloc(room);
    if (!next) {
      fprintf(stderr, "mailroom: out of memory, %zu bytes were asked for\n", size);
      abort();
    }
    next->before = newest;
    next->used = header;
    next->size = room;
    newest = next;
  }
  void *taken = (char *)newest + newest->used;
  newest->used += size;
  return taken;
}

void *mailroom_alloc(size_t size) { return memset(take(size), 0, size); }

void mailroom_call_ends(void) {
  while (newest) {
    chunk *before = newest->before;
    free(newest);
    newest = before;
  }
}

static void *alc_malloc(void *context, size_t size) {
  (void)context;
  return take(size);
}

static void *alc_realloc(void *context, void *old, size_t old_size, size_t size) {
  (void)context;
  return memcpy(take(size), old, old_size < size ? old_size : size);
}

static void alc_free(void *context, void *memory) {
  (void)context;
  (void)memory;
}

static const yyjson_alc memory_of_call = {alc_malloc, alc_realloc, alc_free, NULL};

/* ---- Text ---- */

mailroom_text mailroom_text_of(const char *string) {
  mailroom_text text = {string, string ? strlen(string) : 0};
  return text;
}

mailroom_text mailroom_copy(const void *bytes, size_t len) {
  char *copy = take(len + 1);
  if (len) memcpy(copy, bytes, len);
  copy[len] = 0;
  mailroom_text text = {copy, len};
  return text;
}

char *mailroom_cstr(mailroom_text text) { return text.ptr ? (char *)mailroom_copy(text.ptr, text.len).ptr : NULL; }

static const char *format_list(const char *format, va_list args) {
  va_list again;
  va_copy(again, args);
  int len = vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (len < 0) return "";
  char *text = take((size_t)len + 1);
  vsnprintf(text, (size_t)len + 1, format, args);
  return text;
}

char *mailroom_format(const char *format, ...) {
  va_list args;
  va_start(args, format);
  const char *text = format_list(format, args);
  va_end(args);
  return (char *)text;
}

bool mailroom_equal(mailroom_text text, const char *string) {
  return text.ptr && text.len == strlen(string) && memcmp(text.ptr, string, text.len) == 0;
}

/* How many bytes of valid UTF-8 a character has at this place, or 0. */
static size_t character(const unsigned char *at, size_t left) {
  unsigned char first = at[0];
  size_t len = first < 0x80 ? 1 : first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3
               : first >= 0xf0 && first < 0xf5 ? 4 : 0;
  if (len == 0 || len > left) return 0;
  for (size_t i = 1; i < len; i++) {
    if ((at[i] & 0xc0) != 0x80) return 0;
  }
  /* Too long a form of a character, a half of a pair, or beyond the last character. */
  if (first == 0xe0 && at[1] < 0xa0) return 0;
  if (first == 0xed && at[1] >= 0xa0) return 0;
  if (first == 0xf0 && at[1] < 0x90) return 0;
  if (first == 0xf4 && at[1] >= 0x90) return 0;
  return len;
}

bool mailroom_is_utf8(mailroom_text text) {
  for (size_t i = 0; i < text.len;) {
    size_t len = character((const unsigned char *)text.ptr + i, text.len - i);
    if (len == 0) return false;
    i += len;
  }
  return true;
}

mailroom_text mailroom_valid(mailroom_text text) {
  if (mailroom_is_utf8(text)) return text;
  char *valid = take(text.len * 3);
  size_t used = 0;
  for (size_t i = 0; i < text.len;) {
    size_t len = character((const unsigned char *)text.ptr + i, text.len - i);
    memcpy(valid + used, len ? text.ptr + i : "\xef\xbf\xbd", len ? len : 3);
    used += len ? len : 3;
    i += len ? len : 1;
  }
  mailroom_text replaced = {valid, used};
  return replaced;
}

/* ---- Messages ---- */

mailroom_data mailroom_data_text(const char *string) {
  mailroom_data data = {string ? MAILROOM_TEXT : MAILROOM_ABSENT, mailroom_text_of(string)};
  return data;
}

mailroom_data mailroom_data_bytes(const void *bytes, size_t len) {
  mailroom_data data = {MAILROOM_BINARY, {(const char *)bytes, len}};
  return data;
}

mailroom_data mailroom_header_value(const mailroom_message *message, const char *name) {
  for (size_t i = message->header_count; i > 0; i--) {
    const mailroom_header *header = &message->headers[i - 1];
    if (mailroom_equal(header->name, name)) return header->value;
  }
  mailroom_data absent = {MAILROOM_ABSENT, {NULL, 0}};
  return absent;
}

/* ---- Errors ---- */

static mailroom_error *error_with(mailroom_error_kind kind, uint64_t limit, const char *reason, const char *words) {
  mailroom_error *error = mailroom_alloc(sizeof *error);
  error->kind = kind;
  error->words = words;
  error->reason = reason;
  error->sqlstate = "";
  error->limit = limit;
  return error;
}

const mailroom_error *mailroom_error_new(mailroom_error_kind kind, const char *format, ...) {
  va_list args;
  va_start(args, format);
  const char *words = format_list(format, args);
  va_end(args);
  return error_with(kind, 0, "", words);
}

const mailroom_error *mailroom_publish_error(mailroom_error_kind kind, const char *topic, uint64_t limit,
                                             const char *reason) {
  const char *words;
  unsigned long long most = limit;
  if (kind == MAILROOM_NOT_GRANTED) {
    words = mailroom_format(
        "this handler may not publish to `%s`: add it to `publish` under `[grants]` in its manifest", topic);
  } else if (kind == MAILROOM_TOO_LARGE) {
    words = mailroom_format("the message for `%s` is larger than the %llu bytes that are allowed", topic, most);
  } else if (kind == MAILROOM_TOO_MANY) {
    words = mailroom_format("the message for `%s` is one more than the %llu that a call may emit", topic, most);
  } else {
    words = mailroom_format("the message for `%s` cannot be published: %s", topic, reason);
  }
  return error_with(kind, limit, reason, words);
}

const mailroom_error *mailroom_state_error(mailroom_error_kind kind, const char *name, uint64_t limit,
                                           const char *reason) {
  const char *words;
  unsigned long long most = limit;
  if (kind == MAILROOM_NOT_GRANTED) {
    words = "this handler may not use state: say `state = true` under `[grants]` in its manifest";
  } else if (kind == MAILROOM_NO_KEY) {
    words = mailroom_format(
        "`%s` is keyed state, and this message has no key: use shared state or produce with a key", name);
  } else if (kind == MAILROOM_TOO_LARGE) {
    words = mailroom_format("the value of `%s` is larger than the %llu bytes that are allowed", name, most);
  } else if (kind == MAILROOM_TOO_MANY) {
    words = mailroom_format("`%s` is one more than the %llu names that are allowed", name, most);
  } else if (kind == MAILROOM_NOT_JSON) {
    words = mailroom_format("the value of `%s` is not the JSON that this handler expects: %s", name, reason);
  } else {
    words = mailroom_format("`%s` cannot be a name in state: %s", name, reason);
  }
  return error_with(kind, limit, reason, words);
}

const mailroom_error *mailroom_sql_error(const char *sqlstate, const char *words) {
  mailroom_error *error = error_with(MAILROOM_SQL, 0, words, words);
  error->sqlstate = sqlstate;
  return error;
}

const mailroom_error *mailroom_http_error(mailroom_error_kind kind, const char *subject, uint64_t limit,
                                          const char *reason) {
  const char *words;
  if (kind == MAILROOM_HTTP_INVALID) {
    words = mailroom_format("the request to `%s` cannot be sent: %s", subject, reason);
  } else if (kind == MAILROOM_HTTP_DENIED) {
    words = mailroom_format(
        "this handler may not send requests to `%s`: add it to `http` under `[grants]` in its manifest", subject);
  } else if (kind == MAILROOM_HTTP_ADDRESS_DENIED) {
    words = mailroom_format(
        "`%s` has an address that is not public: the operator may allow it in `http.addresses`", subject);
  } else if (kind == MAILROOM_HTTP_TIMEOUT) {
    words = mailroom_format("`%s` did not answer in time", subject);
  } else if (kind == MAILROOM_HTTP_TOO_LARGE) {
    words = mailroom_format("the response of `%s` has more than %llu bytes", subject, (unsigned long long)limit);
  } else {
    words = mailroom_format("the request to `%s` failed: %s", subject, reason);
  }
  return error_with(kind, limit, reason, words);
}

/* ---- How a call ends ---- */

static mailroom_outcome outcome(mailroom_ending ending, const char *reason) {
  mailroom_outcome outcome = {ending, reason ? reason : "", NULL, NULL, false, 0, false};
  return outcome;
}

mailroom_outcome mailroom_completed(void) { return outcome(MAILROOM_COMPLETED, NULL); }
mailroom_outcome mailroom_retry(const char *reason) { return outcome(MAILROOM_RETRY, reason); }
mailroom_outcome mailroom_skip(const char *reason) { return outcome(MAILROOM_SKIPPED, reason); }
mailroom_outcome mailroom_reject(const char *reason) { return outcome(MAILROOM_REJECTED, reason); }

mailroom_outcome mailroom_after(mailroom_outcome retry, uint64_t milliseconds) {
  retry.has_after = true;
  retry.after_ms = milliseconds;
  return retry;
}

mailroom_outcome mailroom_uncounted(mailroom_outcome retry) {
  retry.uncounted = true;
  return retry;
}

mailroom_outcome mailroom_fail(const char *message, const char *code, const char *detail) {
  mailroom_outcome failure = outcome(MAILROOM_FAILURE, message);
  failure.code = code;
  failure.detail = detail;
  return failure;
}

mailroom_outcome mailroom_failed(const mailroom_error *error) {
  return error->kind == MAILROOM_PAYLOAD ? mailroom_reject(error->words) : mailroom_fail(error->words, NULL, NULL);
}

/* ---- JSON ---- */

static yyjson_val *read_json(mailroom_text text, yyjson_read_err *failure) {
  /* Without YYJSON_READ_INSITU the text is only read. */
  yyjson_doc *doc = yyjson_read_opts((char *)text.ptr, text.len, 0, &memory_of_call, failure);
  return yyjson_doc_get_root(doc);
}

const mailroom_error *mailroom_json(const mailroom_message *message, yyjson_val **root) {
  const char *id = mailroom_cstr(message->message_id);
  *root = NULL;
  if (message->payload.form == MAILROOM_ABSENT) {
    return mailroom_error_new(MAILROOM_PAYLOAD, "message `%s` has no payload", id);
  }
  yyjson_read_err failure;
  *root = read_json(message->payload.bytes, &failure);
  if (*root) return NULL;
  return mailroom_error_new(MAILROOM_PAYLOAD,
                            "the payload of message `%s` is not the JSON that this handler expects: %s at byte %zu", id,
                            failure.msg, failure.pos);
}

static const mailroom_error *field(yyjson_val *object, const char *name, const char *type, yyjson_val **found,
                                   bool (*fits)(yyjson_val *value)) {
  *found = yyjson_obj_get(object, name);
  if (fits(*found)) return NULL;
  return mailroom_error_new(MAILROOM_PAYLOAD, "the payload is not the JSON that this handler expects: `%s` is %s", name,
                            *found ? mailroom_format("%s, not %s", yyjson_get_type_desc(*found), type) : "missing");
}

static bool is_text(yyjson_val *value) { return yyjson_is_str(value); }
static bool is_number(yyjson_val *value) { return yyjson_is_num(value); }
static bool is_boolean(yyjson_val *value) { return yyjson_is_bool(value); }
static bool is_integer(yyjson_val *value) {
  return yyjson_is_sint(value) || (yyjson_is_uint(value) && yyjson_get_uint(value) <= INT64_MAX);
}

const mailroom_error *mailroom_json_text(yyjson_val *object, const char *name, mailroom_text *value) {
  yyjson_val *found;
  const mailroom_error *error = field(object, name, "a text", &found, is_text);
  value->ptr = error ? NULL : yyjson_get_str(found);
  value->len = error ? 0 : yyjson_get_len(found);
  return error;
}

const mailroom_error *mailroom_json_integer(yyjson_val *object, const char *name, int64_t *value) {
  yyjson_val *found;
  const mailroom_error *error = field(object, name, "an integer", &found, is_integer);
  *value = error ? 0 : yyjson_get_sint(found);
  return error;
}

const mailroom_error *mailroom_json_number(yyjson_val *object, const char *name, double *value) {
  yyjson_val *found;
  const mailroom_error *error = field(object, name, "a number", &found, is_number);
  *value = error ? 0 : yyjson_get_num(found);
  return error;
}

const mailroom_error *mailroom_json_boolean(yyjson_val *object, const char *name, bool *value) {
  yyjson_val *found;
  const mailroom_error *error = field(object, name, "true or false", &found, is_boolean);
  *value = error ? false : yyjson_get_bool(found);
  return error;
}

yyjson_mut_doc *mailroom_json_object(void) {
  yyjson_mut_doc *doc = yyjson_mut_doc_new(&memory_of_call);
  yyjson_mut_doc_set_root(doc, yyjson_mut_obj(doc));
  return doc;
}

void mailroom_json_add_text(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *name, mailroom_text value) {
  mailroom_text valid = mailroom_valid(value);
  yyjson_mut_val *added = value.ptr ? yyjson_mut_strncpy(doc, valid.ptr, valid.len) : yyjson_mut_null(doc);
  yyjson_mut_obj_add(object, yyjson_mut_strcpy(doc, name), added);
}

mailroom_text mailroom_json_write(const yyjson_mut_doc *doc) {
  mailroom_text text = {NULL, 0};
  /* Infinity and NaN become null, so that writing cannot fail. */
  text.ptr = yyjson_mut_write_opts(doc, YYJSON_WRITE_INF_AND_NAN_AS_NULL | YYJSON_WRITE_ALLOW_INVALID_UNICODE,
                                   &memory_of_call, &text.len, NULL);
  return text;
}

/* ---- What the host does ---- */

const mailroom_error *mailroom_publish(const mailroom_outgoing *message, mailroom_text *id) {
  mailroom_text unused;
  return mailroom_host_publish(message, id ? id : &unused);
}

const mailroom_error *mailroom_publish_json(const mailroom_outgoing *message, const yyjson_mut_doc *doc,
                                            mailroom_text *id) {
  mailroom_outgoing with_payload = *message;
  with_payload.payload.form = MAILROOM_TEXT;
  with_payload.payload.bytes = mailroom_json_write(doc);
  if (!with_payload.content_type) with_payload.content_type = "application/json";
  return mailroom_publish(&with_payload, id);
}

const mailroom_error *mailroom_state_get(mailroom_scope scope, const char *name, mailroom_data *value) {
  memset(value, 0, sizeof *value);
  return mailroom_host_state_get(scope, name, value);
}

const mailroom_error *mailroom_state_set(mailroom_scope scope, const char *name, const void *bytes, size_t len) {
  mailroom_text value = {(const char *)bytes, len};
  return mailroom_host_state_set(scope, name, value);
}

const mailroom_error *mailroom_state_get_json(mailroom_scope scope, const char *name, yyjson_val **root) {
  mailroom_data stored;
  *root = NULL;
  const mailroom_error *error = mailroom_state_get(scope, name, &stored);
  if (error || stored.form == MAILROOM_ABSENT) return error;
  yyjson_read_err failure;
  *root = read_json(stored.bytes, &failure);
  return *root ? NULL : mailroom_state_error(MAILROOM_NOT_JSON, name, 0, failure.msg);
}

const mailroom_error *mailroom_state_set_json(mailroom_scope scope, const char *name, const yyjson_mut_doc *doc) {
  mailroom_text text = mailroom_json_write(doc);
  return mailroom_state_set(scope, name, text.ptr, text.len);
}

const mailroom_error *mailroom_state_get_integer(mailroom_scope scope, const char *name, int64_t *value) {
  yyjson_val *root;
  *value = 0;
  const mailroom_error *error = mailroom_state_get_json(scope, name, &root);
  if (error || !root) return error;
  if (!is_integer(root)) return mailroom_state_error(MAILROOM_NOT_JSON, name, 0, "it is no integer");
  *value = yyjson_get_sint(root);
  return NULL;
}

const mailroom_error *mailroom_state_set_integer(mailroom_scope scope, const char *name, int64_t value) {
  const char *digits = mailroom_format("%lld", (long long)value);
  return mailroom_state_set(scope, name, digits, strlen(digits));
}

const mailroom_error *mailroom_state_remove(mailroom_scope scope, const char *name) {
  return mailroom_host_state_remove(scope, name);
}

#define NAMES_PAGE 1000

const mailroom_error *mailroom_state_names(mailroom_scope scope, const char *prefix, mailroom_texts *names) {
  mailroom_text after = {NULL, 0};
  mailroom_texts page;
  memset(names, 0, sizeof *names);
  do {
    memset(&page, 0, sizeof page);
    const mailroom_error *error = mailroom_host_state_names(scope, prefix, after, NAMES_PAGE, &page);
    if (error) return error;
    if (page.count == 0) break;
    mailroom_text *all = mailroom_alloc((names->count + page.count) * sizeof *all);
    if (names->count) memcpy(all, names->items, names->count * sizeof *all);
    memcpy(all + names->count, page.items, page.count * sizeof *all);
    names->items = all;
    names->count += page.count;
    after = page.items[page.count - 1];
  } while (page.count == NAMES_PAGE);
  return NULL;
}

static mailroom_value value_of(mailroom_value_kind kind) {
  mailroom_value value = {kind, false, 0, 0, {NULL, 0}};
  return value;
}

mailroom_value mailroom_sql_null(void) { return value_of(MAILROOM_SQL_NULL); }

mailroom_value mailroom_sql_boolean(bool boolean) {
  mailroom_value value = value_of(MAILROOM_SQL_BOOLEAN);
  value.boolean = boolean;
  return value;
}

mailroom_value mailroom_sql_integer(int64_t integer) {
  mailroom_value value = value_of(MAILROOM_SQL_INTEGER);
  value.integer = integer;
  return value;
}

mailroom_value mailroom_sql_float(double number) {
  mailroom_value value = value_of(MAILROOM_SQL_FLOAT);
  value.number = number;
  return value;
}

mailroom_value mailroom_sql_text(mailroom_text text) {
  mailroom_value value = value_of(text.ptr ? MAILROOM_SQL_TEXT : MAILROOM_SQL_NULL);
  value.bytes = text;
  return value;
}

mailroom_value mailroom_sql_bytes(const void *bytes, size_t len) {
  mailroom_value value = value_of(MAILROOM_SQL_BYTES);
  value.bytes.ptr = (const char *)bytes;
  value.bytes.len = len;
  return value;
}

const mailroom_value *mailroom_table_at(const mailroom_table *table, size_t row, size_t column) {
  if (row >= table->row_count || column >= table->column_count) return NULL;
  return &table->values[row * table->column_count + column];
}

const mailroom_value *mailroom_table_named(const mailroom_table *table, size_t row, const char *column) {
  for (size_t i = 0; i < table->column_count; i++) {
    if (mailroom_equal(table->columns[i], column)) return mailroom_table_at(table, row, i);
  }
  return NULL;
}

const mailroom_error *mailroom_query(const char *statement, const mailroom_value *params, size_t count,
                                     mailroom_table *table) {
  memset(table, 0, sizeof *table);
  return mailroom_host_query(statement, params, count, table);
}

const mailroom_error *mailroom_execute(const char *statement, const mailroom_value *params, size_t count,
                                       uint64_t *rows) {
  uint64_t unused;
  return mailroom_host_execute(statement, params, count, rows ? rows : &unused);
}

const mailroom_error *mailroom_config(const char *key, mailroom_text *value) {
  memset(value, 0, sizeof *value);
  const mailroom_error *error = mailroom_host_config(key, value);
  if (error || value->ptr) return error;
  return mailroom_error_new(MAILROOM_CONFIG, "the configuration key %s has no value", key);
}

const mailroom_error *mailroom_config_all(mailroom_settings *settings) {
  memset(settings, 0, sizeof *settings);
  return mailroom_host_config_all(settings);
}

void mailroom_log(mailroom_level level, const char *context, const char *format, ...) {
  va_list args;
  va_start(args, format);
  const char *text = format_list(format, args);
  va_end(args);
  mailroom_host_log(level, context ? context : "", text);
}

const mailroom_error *mailroom_http(const mailroom_request *request, mailroom_response *response) {
  mailroom_request whole = *request;
  if (!whole.method) whole.method = "GET";
  if (!whole.body_max) whole.body_max = (size_t)8 << 20;
  memset(response, 0, sizeof *response);
  return mailroom_host_http(&whole, response);
}

static char lower(char letter) { return letter >= 'A' && letter <= 'Z' ? (char)(letter + 'a' - 'A') : letter; }

mailroom_text mailroom_response_header(const mailroom_response *response, const char *name) {
  size_t len = strlen(name);
  for (size_t i = 0; i < response->header_count; i++) {
    const mailroom_field *found = &response->headers[i];
    size_t same = 0;
    while (found->name.len == len && same < len && lower(found->name.ptr[same]) == lower(name[same])) same++;
    if (found->name.len == len && same == len) return found->value;
  }
  mailroom_text none = {NULL, 0};
  return none;
}

/* ---- The dispatcher ---- */

/* The next segment of a dotted name; false behind the last. */
static bool segment(const char **rest, const char *end, mailroom_text *found) {
  if (!*rest) return false;
  const char *dot = memchr(*rest, '.', (size_t)(end - *rest));
  found->ptr = *rest;
  found->len = (size_t)((dot ? dot : end) - *rest);
  *rest = dot ? dot + 1 : NULL;
  return true;
}

/* `*` is one segment, a last `**` is the rest, which may be none. */
static bool matches(const char *pattern, mailroom_text name) {
  if (!pattern) return true;
  const char *pattern_end = pattern + strlen(pattern), *rest = name.ptr, *name_end = name.ptr + name.len;
  mailroom_text wanted, found;
  while (segment(&pattern, pattern_end, &wanted)) {
    if (!pattern && mailroom_equal(wanted, "**")) return true;
    if (!segment(&rest, name_end, &found)) return false;
    bool same = wanted.len == found.len && memcmp(wanted.ptr, found.ptr, wanted.len) == 0;
    if (!same && !mailroom_equal(wanted, "*")) return false;
  }
  return !rest;
}

static bool version_matches(const char *prefix, mailroom_text version) {
  if (!prefix) return true;
  size_t len = strlen(prefix);
  return version.len >= len && version.ptr && memcmp(version.ptr, prefix, len) == 0 &&
         (version.len == len || version.ptr[len] == '.');
}

static mailroom_text version_of(const mailroom_router *router, const mailroom_message *message) {
  return message->schema_version.ptr ? message->schema_version : mailroom_text_of(router->default_version);
}

static const mailroom_upcast *next_upcast(const mailroom_router *router, const mailroom_message *message) {
  mailroom_text version = version_of(router, message);
  for (size_t i = 0; version.ptr && i < router->upcast_count; i++) {
    const mailroom_upcast *upcast = &router->upcasts[i];
    if (matches(upcast->event_type, message->event_type) && version_matches(upcast->from, version)) return upcast;
  }
  return NULL;
}

mailroom_outcome mailroom_dispatch(const mailroom_router *router, const mailroom_message *message) {
  mailroom_message newest_version = *message;
  /* Each step is taken once, so that no table of steps goes on for ever. */
  for (size_t steps = 0; steps < router->upcast_count; steps++) {
    const mailroom_upcast *upcast = next_upcast(router, &newest_version);
    if (!upcast) break;
    yyjson_val *old_payload;
    yyjson_mut_doc *new_payload = mailroom_json_object();
    const mailroom_error *error = mailroom_json(&newest_version, &old_payload);
    if (!error) error = upcast->apply(old_payload, new_payload);
    if (error) return mailroom_failed(error);
    newest_version.payload.form = MAILROOM_TEXT;
    newest_version.payload.bytes = mailroom_json_write(new_payload);
    newest_version.schema_version = mailroom_text_of(upcast->to);
  }
  mailroom_text version = version_of(router, &newest_version);
  for (size_t i = 0; i < router->route_count; i++) {
    const mailroom_route *route = &router->routes[i];
    if (matches(route->event_type, message->event_type) && matches(route->source, message->source) &&
        version_matches(route->schema_version, version)) {
      return route->handle(&newest_version);
    }
  }
  return mailroom_skip(mailroom_format("no route for `%s` from `%s`, schema version `%s`",
                                       mailroom_cstr(message->event_type), mailroom_cstr(message->source),
                                       version.ptr ? mailroom_cstr(version) : ""));
}
