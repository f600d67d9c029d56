/* A host in memory for the tests of handlers, compiled for the machine that runs the tests.
 *
 *     mailroom_test_host *host = mailroom_test_new();
 *     mailroom_message message = mailroom_test_message("orders", "order.placed", "{\"customer\": \"ada\"}");
 *     message.key = mailroom_data_text("ada");
 *     const mailroom_test_result *result = mailroom_test_call(host, &mailroom_this_handler, &message);
 *     // result->outcome, result->published, mailroom_test_state(host, "ada", "total_cents")
 *     mailroom_test_free(host);
 *
 * As the real host does, it drops what a call published and stored unless the call completes. What it gives lasts until
 * mailroom_test_free. One host at a time is in use. */
#ifndef MAILROOM_TEST_H
#define MAILROOM_TEST_H

#include "mailroom.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mailroom_test_published {
  const char *id;
  mailroom_outgoing message;
} mailroom_test_published;

typedef struct mailroom_test_line {
  mailroom_level level;
  const char *context;
  const char *text;
} mailroom_test_line;

typedef struct mailroom_test_result {
  mailroom_outcome outcome;
  const mailroom_test_published *published;
  size_t published_count;
  const mailroom_test_line *lines; /* also of a call that did not complete */
  size_t line_count;
} mailroom_test_result;

typedef struct mailroom_test_memory mailroom_test_memory;

typedef struct mailroom_test_host {
  const char *const *topics; /* that may be published to, ended by NULL; NULL grants all */
  bool state_denied;
  const mailroom_setting *settings;
  size_t setting_count;
  /* Answers; NULL denies. */
  const mailroom_error *(*on_query)(const char *statement, const mailroom_value *params, size_t count,
                                    mailroom_table *table);
  const mailroom_error *(*on_execute)(const char *statement, const mailroom_value *params, size_t count,
                                      uint64_t *rows);
  const mailroom_error *(*on_http)(const mailroom_request *request, mailroom_response *response);
  mailroom_test_memory *memory;
} mailroom_test_host;

/* A host that grants messages and state. */
mailroom_test_host *mailroom_test_new(void);
void mailroom_test_free(mailroom_test_host *host);

/* A first delivery with JSON as its payload, NULL for a tombstone, without a key. */
mailroom_message mailroom_test_message(const char *topic, const char *event_type, const char *json);
/* Calls the handler once. */
const mailroom_test_result *mailroom_test_call(mailroom_test_host *host, const mailroom_handler *handler,
                                               const mailroom_message *message);
/* The state of a key, or the shared one where the key is NULL; absent where the name was never set. */
mailroom_data mailroom_test_state(const mailroom_test_host *host, const char *key, const char *name);

#ifdef __cplusplus
}
#endif

#endif
