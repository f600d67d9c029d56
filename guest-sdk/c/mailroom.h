/* Writes a mailroom handler in C, or in C++ by the same names.
 *
 * A handler takes one message at a time and returns how the call ends. What it published and stored commits in one
 * Postgres transaction with the fact that the message is done, or not at all. The same message may be handled more
 * than once before that: derive new ids from the message's id, never from the clock or from chance.
 *
 * Memory: whatever this layer hands out, and whatever mailroom_alloc gives, lasts until the call ends and is never
 * freed by hand. Memory that is used up ends the call as a fault.
 *
 * Text: a pointer and a length, not ended by a 0; mailroom_cstr makes it so. Parameters of the type const char * are
 * ended by a 0. Bytes that are no UTF-8 are replaced where the host wants text.
 *
 * Errors: functions that can be refused return NULL, or an error to be looked at or ended with:
 *
 *     const mailroom_error *error = mailroom_publish(&outgoing, NULL);
 *     if (error) return mailroom_failed(error);
 */
#ifndef MAILROOM_H
#define MAILROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "yyjson/yyjson.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MAILROOM_PRINTF(words, args) __attribute__((format(printf, words, args)))
#else
#define MAILROOM_PRINTF(words, args)
#endif

/* ---- Memory and text ---- */

/* Bytes that are text where nothing else is said; ptr is NULL where there is none. */
typedef struct mailroom_text {
  const char *ptr;
  size_t len;
} mailroom_text;

/* Memory of this call, filled with 0. */
void *mailroom_alloc(size_t size);
/* Text from a C string; NULL gives none. Nothing is copied. */
mailroom_text mailroom_text_of(const char *string);
/* The text ended by a 0; NULL for none. */
char *mailroom_cstr(mailroom_text text);
/* A formatted C string. */
char *mailroom_format(const char *format, ...) MAILROOM_PRINTF(1, 2);
bool mailroom_equal(mailroom_text text, const char *string);
bool mailroom_is_utf8(mailroom_text text);

/* ---- Messages ---- */

typedef enum mailroom_form {
  MAILROOM_ABSENT = 0, /* no key; a tombstone; a null header */
  MAILROOM_TEXT,       /* what came as text is UTF-8 */
  MAILROOM_BINARY
} mailroom_form;

/* Bytes with the form in which they came or go. All zero is the absence of data. */
typedef struct mailroom_data {
  mailroom_form form;
  mailroom_text bytes;
} mailroom_data;

mailroom_data mailroom_data_text(const char *string);
mailroom_data mailroom_data_bytes(const void *bytes, size_t len);

typedef struct mailroom_header {
  mailroom_text name;
  mailroom_data value;
} mailroom_header;

/* One delivery. All but attempt and delivery is the same on every delivery. */
typedef struct mailroom_message {
  mailroom_text id;         /* the inbox row, a UUID; stable across retries and replay */
  mailroom_text message_id; /* the producer's, or the record's place in the log */
  mailroom_text event_type; /* for example order.placed */
  mailroom_text source;     /* the header `source`, else the topic */
  mailroom_text schema_version;
  mailroom_text topic;
  int32_t partition;
  int64_t offset;
  mailroom_data key; /* absent: no order, and no keyed state */
  mailroom_data payload;
  mailroom_text content_type;
  const mailroom_header *headers;
  size_t header_count;
  int64_t produced_at_ms; /* since 1970 */
  mailroom_text correlation_id;
  mailroom_text causation_id;
  mailroom_text traceparent;
  uint32_t attempt; /* from 1; only calls whose end counted raise it */
  uint32_t max_attempts;
  uint32_t delivery; /* from 1; every claim raises it */
} mailroom_message;

/* The value of the last header with this name; absent where there is none. */
mailroom_data mailroom_header_value(const mailroom_message *message, const char *name);

/* ---- Errors ---- */

typedef enum mailroom_error_kind {
  MAILROOM_PAYLOAD = 1, /* not the JSON that is expected; ends the call as rejected */
  MAILROOM_NOT_GRANTED,
  MAILROOM_TOO_LARGE,
  MAILROOM_TOO_MANY,
  MAILROOM_INVALID,
  MAILROOM_NO_KEY,
  MAILROOM_INVALID_NAME,
  MAILROOM_NOT_JSON, /* what is stored is not the JSON that is expected */
  MAILROOM_SQL,
  MAILROOM_CONFIG,
  MAILROOM_HTTP_INVALID,
  MAILROOM_HTTP_DENIED,
  MAILROOM_HTTP_ADDRESS_DENIED,
  MAILROOM_HTTP_TIMEOUT,
  MAILROOM_HTTP_TOO_LARGE,
  MAILROOM_HTTP_FAILED
} mailroom_error_kind;

typedef struct mailroom_error {
  mailroom_error_kind kind;
  const char *words;    /* for people */
  const char *reason;   /* the host's own words where it has any, else "" */
  const char *sqlstate; /* of MAILROOM_SQL, else "" */
  uint64_t limit;       /* of MAILROOM_TOO_LARGE in bytes, of MAILROOM_TOO_MANY in messages or names */
} mailroom_error;

/* An error of a kind, in printf's words. */
const mailroom_error *mailroom_error_new(mailroom_error_kind kind, const char *format, ...) MAILROOM_PRINTF(2, 3);

/* ---- How a call ends ---- */

typedef enum mailroom_ending {
  MAILROOM_COMPLETED = 0,
  MAILROOM_RETRY,
  MAILROOM_SKIPPED,
  MAILROOM_REJECTED,
  MAILROOM_FAILURE
} mailroom_ending;

typedef struct mailroom_outcome {
  mailroom_ending ending;
  const char *reason; /* or the failure's message */
  const char *code;
  const char *detail;
  bool has_after;
  uint64_t after_ms;
  bool uncounted;
} mailroom_outcome;

/* The effects commit; with every other ending they are dropped. */
mailroom_outcome mailroom_completed(void);
/* The message comes again with backoff. */
mailroom_outcome mailroom_retry(const char *reason);
/* The retry after a delay of its own. */
mailroom_outcome mailroom_after(mailroom_outcome retry, uint64_t milliseconds);
/* The retry at no cost in attempts; the host bounds how long this can go on. */
mailroom_outcome mailroom_uncounted(mailroom_outcome retry);
/* The message is completed without effects. */
mailroom_outcome mailroom_skip(const char *reason);
/* The message is a dead letter at once. */
mailroom_outcome mailroom_reject(const char *reason);
/* The message comes again with backoff, and is a dead letter after the last attempt. The code groups dead letters; it
 * and the detail may be NULL. */
mailroom_outcome mailroom_fail(const char *message, const char *code, const char *detail);
/* The error's own words: rejected for MAILROOM_PAYLOAD, else a failure. */
mailroom_outcome mailroom_failed(const mailroom_error *error);

/* ---- JSON, by yyjson in memory of this call ---- */

/* The payload. The error is MAILROOM_PAYLOAD where it is missing or malformed. */
const mailroom_error *mailroom_json(const mailroom_message *message, yyjson_val **root);
/* A field of an object, which has to be there and of this type; else the error is MAILROOM_PAYLOAD. */
const mailroom_error *mailroom_json_text(yyjson_val *object, const char *name, mailroom_text *value);
const mailroom_error *mailroom_json_integer(yyjson_val *object, const char *name, int64_t *value);
const mailroom_error *mailroom_json_number(yyjson_val *object, const char *name, double *value);
const mailroom_error *mailroom_json_boolean(yyjson_val *object, const char *name, bool *value);
/* A document to be written, whose root is an object. It and what is added to it last as long as the call. */
yyjson_mut_doc *mailroom_json_object(void);
/* Adds a text, copied; null where there is none. Not UTF-8 is replaced. */
void mailroom_json_add_text(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *name, mailroom_text value);
mailroom_text mailroom_json_write(const yyjson_mut_doc *doc);

/* ---- State ---- */

typedef enum mailroom_scope {
  MAILROOM_KEYED = 0, /* this handler and this message's key */
  MAILROOM_SHARED     /* this handler; a call that loses a race is run again at no cost */
} mailroom_scope;

/* The bytes of a name; absent where it was never set. */
const mailroom_error *mailroom_state_get(mailroom_scope scope, const char *name, mailroom_data *value);
const mailroom_error *mailroom_state_set(mailroom_scope scope, const char *name, const void *bytes, size_t len);
/* The JSON of a name; NULL where it was never set. */
const mailroom_error *mailroom_state_get_json(mailroom_scope scope, const char *name, yyjson_val **root);
const mailroom_error *mailroom_state_set_json(mailroom_scope scope, const char *name, const yyjson_mut_doc *doc);
/* A JSON integer; 0 where it was never set. */
const mailroom_error *mailroom_state_get_integer(mailroom_scope scope, const char *name, int64_t *value);
const mailroom_error *mailroom_state_set_integer(mailroom_scope scope, const char *name, int64_t value);
const mailroom_error *mailroom_state_remove(mailroom_scope scope, const char *name);

typedef struct mailroom_texts {
  mailroom_text *items;
  size_t count;
} mailroom_texts;

/* All names that begin with a prefix, in byte order. */
const mailroom_error *mailroom_state_names(mailroom_scope scope, const char *prefix, mailroom_texts *names);

/* ---- Publishing ---- */

/* A message to publish. Correlation, causation and trace are set by the host. */
typedef struct mailroom_outgoing {
  const char *topic;
  const char *event_type;
  mailroom_data key;     /* absent: no order */
  mailroom_data payload; /* absent: a tombstone */
  const char *content_type;
  const mailroom_header *headers;
  size_t header_count;
  const char *schema_version;
  const char *idempotency_key; /* one already used gives the first id and emits nothing */
  uint64_t delay_ms;           /* from the commit; 0 for none */
} mailroom_outgoing;

/* Hands the message to the host, and gives its id where that is asked for. */
const mailroom_error *mailroom_publish(const mailroom_outgoing *message, mailroom_text *id);
/* The same with a document as the payload, and its content type where there is none. */
const mailroom_error *mailroom_publish_json(const mailroom_outgoing *message, const yyjson_mut_doc *doc,
                                            mailroom_text *id);

/* ---- SQL in the message's own transaction ---- */

typedef enum mailroom_value_kind {
  MAILROOM_SQL_NULL = 0,
  MAILROOM_SQL_BOOLEAN,
  MAILROOM_SQL_INTEGER,
  MAILROOM_SQL_FLOAT,
  MAILROOM_SQL_TEXT,
  MAILROOM_SQL_BYTES
} mailroom_value_kind;

typedef struct mailroom_value {
  mailroom_value_kind kind;
  bool boolean;
  int64_t integer;
  double number;
  mailroom_text bytes; /* of text and bytes */
} mailroom_value;

mailroom_value mailroom_sql_null(void);
mailroom_value mailroom_sql_boolean(bool value);
mailroom_value mailroom_sql_integer(int64_t value);
mailroom_value mailroom_sql_float(double value);
mailroom_value mailroom_sql_text(mailroom_text value);
mailroom_value mailroom_sql_bytes(const void *bytes, size_t len);

typedef struct mailroom_table {
  const mailroom_text *columns;
  size_t column_count;
  const mailroom_value *values; /* row after row */
  size_t row_count;
} mailroom_table;

/* A value by its row and column, from 0; NULL where there is none. */
const mailroom_value *mailroom_table_at(const mailroom_table *table, size_t row, size_t column);
const mailroom_value *mailroom_table_named(const mailroom_table *table, size_t row, const char *column);
/* After an error the call can no longer complete: end it with mailroom_failed. Other types than those of a value travel
 * as text and are cast in the statement: `$1::uuid`. */
const mailroom_error *mailroom_query(const char *statement, const mailroom_value *params, size_t count,
                                     mailroom_table *table);
const mailroom_error *mailroom_execute(const char *statement, const mailroom_value *params, size_t count,
                                       uint64_t *rows);

/* ---- Configuration and log ---- */

const mailroom_error *mailroom_config(const char *key, mailroom_text *value);

typedef struct mailroom_setting {
  mailroom_text key;
  mailroom_text value;
} mailroom_setting;

typedef struct mailroom_settings {
  mailroom_setting *items;
  size_t count;
} mailroom_settings;

const mailroom_error *mailroom_config_all(mailroom_settings *settings);

typedef enum mailroom_level {
  MAILROOM_TRACE = 0,
  MAILROOM_DEBUG,
  MAILROOM_INFO,
  MAILROOM_WARN,
  MAILROOM_ERROR,
  MAILROOM_CRITICAL
} mailroom_level;

/* A line of the host's log with a context, any word by which lines belong together. */
void mailroom_log(mailroom_level level, const char *context, const char *format, ...) MAILROOM_PRINTF(3, 4);

/* ---- HTTP, no part of the transaction ---- */

typedef struct mailroom_field {
  mailroom_text name;
  mailroom_text value;
} mailroom_field;

typedef struct mailroom_request {
  const char *method; /* NULL for GET */
  const char *url;
  const mailroom_field *headers;
  size_t header_count;
  mailroom_text body;
  uint64_t timeout_ms; /* to the last byte of the response; 0 leaves it to the call's deadline */
  size_t body_max;     /* of the response; 0 for 8 MiB */
} mailroom_request;

typedef struct mailroom_response {
  uint16_t status; /* any; redirects are not followed */
  const mailroom_field *headers;
  size_t header_count;
  mailroom_text body;
} mailroom_response;

const mailroom_error *mailroom_http(const mailroom_request *request, mailroom_response *response);
/* The first header with this name in any case; none where there is none. */
mailroom_text mailroom_response_header(const mailroom_response *response, const char *name);

/* ---- The handler ---- */

/* A set of messages. Lists end with NULL; an empty one, or NULL, means any. */
typedef struct mailroom_subscription {
  const char *const *topics;
  const char *const *event_types;     /* `order.*` takes one more segment, `order.**` all that follow */
  const char *const *sources;         /* as event types */
  const char *const *schema_versions; /* `1` takes `1.2.3` */
  bool binary;                        /* else payloads that are not UTF-8 are quarantined */
} mailroom_subscription;

typedef mailroom_outcome (*mailroom_function)(const mailroom_message *message);

/* A function and the messages that it gets; NULL fits all. */
typedef struct mailroom_route {
  const char *event_type;
  const char *source;
  const char *schema_version; /* a prefix of segments, compared after upcasting */
  mailroom_function handle;
} mailroom_route;

/* Makes the payload of one schema version that of a later one. */
typedef struct mailroom_upcast {
  const char *event_type; /* a pattern */
  const char *from;       /* a prefix of segments */
  const char *to;
  const mailroom_error *(*apply)(yyjson_val *old_payload, yyjson_mut_doc *new_payload);
} mailroom_upcast;

typedef struct mailroom_router {
  const mailroom_route *routes; /* the first match gets the message; without one it is skipped */
  size_t route_count;
  const mailroom_upcast *upcasts;
  size_t upcast_count;
  const char *default_version; /* what a message without a schema version counts as; NULL for none */
} mailroom_router;

mailroom_outcome mailroom_dispatch(const mailroom_router *router, const mailroom_message *message);

typedef struct mailroom_handler {
  const mailroom_subscription *subscriptions;
  size_t subscription_count;
  mailroom_function handle;
} mailroom_handler;

/* Defined by the author, once in a component. */
extern const mailroom_handler mailroom_this_handler;

#ifdef __cplusplus
}
#endif

#endif
