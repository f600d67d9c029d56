/* What a call reaches: functions of the sandbox in a component, of the host in memory in tests. For this layer's own
 * files. Each is a function of its own, so that a component imports only what its handler calls. */
#ifndef MAILROOM_HOST_H
#define MAILROOM_HOST_H

#include "mailroom.h"

#ifdef __cplusplus
extern "C" {
#endif

const mailroom_error *mailroom_host_publish(const mailroom_outgoing *message, mailroom_text *id);
const mailroom_error *mailroom_host_state_get(mailroom_scope scope, const char *name, mailroom_data *value);
const mailroom_error *mailroom_host_state_set(mailroom_scope scope, const char *name, mailroom_text value);
const mailroom_error *mailroom_host_state_remove(mailroom_scope scope, const char *name);
/* One page, at most limit names after the given one, which may be none. */
const mailroom_error *mailroom_host_state_names(mailroom_scope scope, const char *prefix, mailroom_text after,
                                                uint32_t limit, mailroom_texts *names);
const mailroom_error *mailroom_host_query(const char *statement, const mailroom_value *params, size_t count,
                                          mailroom_table *table);
const mailroom_error *mailroom_host_execute(const char *statement, const mailroom_value *params, size_t count,
                                            uint64_t *rows);
/* The value is none where the key has none. */
const mailroom_error *mailroom_host_config(const char *key, mailroom_text *value);
const mailroom_error *mailroom_host_config_all(mailroom_settings *settings);
void mailroom_host_log(mailroom_level level, const char *context, const char *text);
const mailroom_error *mailroom_host_http(const mailroom_request *request, mailroom_response *response);

/* Frees the memory of a call. */
void mailroom_call_ends(void);

/* Errors in the words of all SDKs; reasons are the host's own words. */
const mailroom_error *mailroom_publish_error(mailroom_error_kind kind, const char *topic, uint64_t limit,
                                             const char *reason);
const mailroom_error *mailroom_state_error(mailroom_error_kind kind, const char *name, uint64_t limit,
                                           const char *reason);
const mailroom_error *mailroom_sql_error(const char *sqlstate, const char *words);
const mailroom_error *mailroom_http_error(mailroom_error_kind kind, const char *subject, uint64_t limit,
                                          const char *reason);

/* The text with what is not UTF-8 replaced; a copy where that is needed. */
mailroom_text mailroom_valid(mailroom_text text);
mailroom_text mailroom_copy(const void *bytes, size_t len);

#ifdef __cplusplus
}
#endif

#endif
