/* Requests over wasi:http. */
#include <string.h>

#include "bindings/full_handler.h"
#include "mailroom_host.h"

#define READ_MAX (64 << 10)

/* One request, from its parts to the last byte of its response. */
typedef struct exchange {
  const mailroom_request *request;
  const char *host;
  const char *path;
  bool has_timer;
  wasi_clocks_monotonic_clock_own_pollable_t timer;
} exchange;

typedef wasi_http_types_error_code_t error_code;

/* The names of wasi:http/types.error-code, by its tags. */
static const char *const error_codes[] = {
    "DNS-timeout", "DNS-error", "destination-not-found", "destination-unavailable", "destination-IP-prohibited",
    "destination-IP-unroutable", "connection-refused", "connection-terminated", "connection-timeout",
    "connection-read-timeout", "connection-write-timeout", "connection-limit-reached", "TLS-protocol-error",
    "TLS-certificate-error", "TLS-alert-received", "HTTP-request-denied", "HTTP-request-length-required",
    "HTTP-request-body-size", "HTTP-request-method-invalid", "HTTP-request-URI-invalid", "HTTP-request-URI-too-long",
    "HTTP-request-header-section-size", "HTTP-request-header-size", "HTTP-request-trailer-section-size",
    "HTTP-request-trailer-size", "HTTP-response-incomplete", "HTTP-response-header-section-size",
    "HTTP-response-header-size", "HTTP-response-body-size", "HTTP-response-trailer-section-size",
    "HTTP-response-trailer-size", "HTTP-response-transfer-coding", "HTTP-response-content-coding",
    "HTTP-response-timeout", "HTTP-upgrade-failed", "HTTP-protocol-error", "loop-detected", "configuration-error",
    "internal-error",
};

static full_handler_string_t lend(const char *text) {
  mailroom_text valid = mailroom_valid(mailroom_text_of(text));
  full_handler_string_t lent = {(uint8_t *)valid.ptr, valid.len};
  return lent;
}

static const mailroom_error *refused(const exchange *at, mailroom_error_kind kind, const char *reason) {
  const char *subject = kind == MAILROOM_HTTP_INVALID ? at->request->url : at->host;
  return mailroom_http_error(kind, subject, at->request->body_max, reason);
}

static const mailroom_error *failed(const exchange *at, error_code *code) {
  mailroom_error_kind kind = MAILROOM_HTTP_FAILED;
  const char *reason = "";
  switch (code->tag) {
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_DENIED:
      kind = MAILROOM_HTTP_DENIED;
      break;
    case WASI_HTTP_TYPES_ERROR_CODE_DESTINATION_IP_PROHIBITED:
      kind = MAILROOM_HTTP_ADDRESS_DENIED;
      break;
    case WASI_HTTP_TYPES_ERROR_CODE_DNS_TIMEOUT:
    case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_TIMEOUT:
    case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_READ_TIMEOUT:
    case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_WRITE_TIMEOUT:
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_RESPONSE_TIMEOUT:
      kind = MAILROOM_HTTP_TIMEOUT;
      break;
    default:
      reason = code->tag < sizeof error_codes / sizeof *error_codes ? error_codes[code->tag] : "";
  }
  if (code->tag == WASI_HTTP_TYPES_ERROR_CODE_INTERNAL_ERROR && code->val.internal_error.is_some) {
    reason = mailroom_copy(code->val.internal_error.val.ptr, code->val.internal_error.val.len).ptr;
  }
  wasi_http_types_error_code_free(code);
  return refused(at, kind, reason);
}

/* Blocks until what was subscribed to is ready, or the time is up. */
static const mailroom_error *wait(const exchange *at, wasi_io_poll_own_pollable_t ready) {
  wasi_io_poll_borrow_pollable_t both[2];
  both[0] = wasi_io_poll_borrow_pollable(ready);
  if (at->has_timer) both[1] = wasi_io_poll_borrow_pollable(at->timer);
  wasi_io_poll_list_borrow_pollable_t list = {both, at->has_timer ? 2 : 1};
  full_handler_list_u32_t fired;
  wasi_io_poll_poll(&list, &fired);
  bool is_late = fired.len == 1 && fired.ptr[0] == 1;
  full_handler_list_u32_free(&fired);
  wasi_io_poll_pollable_drop_own(ready);
  return is_late ? refused(at, MAILROOM_HTTP_TIMEOUT, "") : NULL;
}

static wasi_http_types_method_t method_of(const char *name) {
  static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
  wasi_http_types_method_t method;
  for (method.tag = 0; method.tag < WASI_HTTP_TYPES_METHOD_OTHER; method.tag++) {
    if (strcmp(names[method.tag], name) == 0) return method;
  }
  method.val.other = lend(name);
  return method;
}

static bool parse(exchange *at, wasi_http_types_scheme_t *scheme) {
  const char *url = at->request->url ? at->request->url : "";
  if (strncmp(url, "https://", 8) == 0) {
    scheme->tag = WASI_HTTP_TYPES_SCHEME_HTTPS;
    url += 8;
  } else if (strncmp(url, "http://", 7) == 0) {
    scheme->tag = WASI_HTTP_TYPES_SCHEME_HTTP;
    url += 7;
  } else {
    return false;
  }
  size_t host = strcspn(url, "/?#"), path = strcspn(url + host, "#");
  at->host = mailroom_copy(url, host).ptr;
  at->path = mailroom_format("%s%.*s", url[host] == '/' ? "" : "/", (int)path, url + host);
  return host > 0;
}

static const mailroom_error *make_request(exchange *at, wasi_http_types_own_outgoing_request_t *made) {
  const mailroom_request *request = at->request;
  wasi_http_types_scheme_t scheme;
  if (!parse(at, &scheme)) return refused(at, MAILROOM_HTTP_INVALID, "it is no http or https URL");
  wasi_http_types_list_tuple2_field_name_field_value_t fields = {NULL, 0};
  fields.ptr = mailroom_alloc((request->header_count + 1) * sizeof *fields.ptr);
  for (size_t i = 0; i < request->header_count; i++) {
    mailroom_text name = mailroom_valid(request->headers[i].name), value = request->headers[i].value;
    fields.ptr[fields.len].f0.ptr = (uint8_t *)name.ptr;
    fields.ptr[fields.len].f0.len = name.len;
    fields.ptr[fields.len].f1.ptr = (uint8_t *)value.ptr;
    fields.ptr[fields.len++].f1.len = value.len;
  }
  /* Without it the body would come in chunks, which not every server takes. */
  if (request->body.len) {
    full_handler_string_t length = lend(mailroom_format("%zu", request->body.len));
    fields.ptr[fields.len].f0 = lend("content-length");
    fields.ptr[fields.len].f1.ptr = length.ptr;
    fields.ptr[fields.len++].f1.len = length.len;
  }
  wasi_http_types_own_fields_t headers;
  wasi_http_types_header_error_t wrong;
  if (!wasi_http_types_static_fields_from_list(&fields, &headers, &wrong)) {
    bool forbidden = wrong.tag == WASI_HTTP_TYPES_HEADER_ERROR_FORBIDDEN;
    return refused(at, MAILROOM_HTTP_INVALID,
                   forbidden ? "a header is one that belongs to the connection" : "a header is none");
  }
  *made = wasi_http_types_constructor_outgoing_request(headers);
  wasi_http_types_borrow_outgoing_request_t self = wasi_http_types_borrow_outgoing_request(*made);
  wasi_http_types_method_t method = method_of(request->method);
  full_handler_string_t host = lend(at->host), path = lend(at->path);
  const char *part = NULL;
  if (!wasi_http_types_method_outgoing_request_set_method(self, &method)) part = "its method is none";
  else if (!wasi_http_types_method_outgoing_request_set_scheme(self, &scheme)) part = "its scheme is none";
  else if (!wasi_http_types_method_outgoing_request_set_authority(self, &host)) part = "its host is none";
  else if (!wasi_http_types_method_outgoing_request_set_path_with_query(self, &path)) part = "its path is none";
  if (!part) return NULL;
  wasi_http_types_outgoing_request_drop_own(*made);
  return refused(at, MAILROOM_HTTP_INVALID, part);
}

/* Tells whether all of the body was taken. A server may answer before it has read it: that is no error. */
static const mailroom_error *write_body(const exchange *at, wasi_io_streams_borrow_output_stream_t stream,
                                        bool *whole) {
  mailroom_text rest = at->request->body;
  wasi_io_streams_stream_error_t closed;
  *whole = false;
  while (rest.len) {
    uint64_t room;
    if (!wasi_io_streams_method_output_stream_check_write(stream, &room, &closed)) {
      wasi_io_streams_stream_error_free(&closed);
      return NULL;
    }
    if (room == 0) {
      const mailroom_error *error = wait(at, wasi_io_streams_method_output_stream_subscribe(stream));
      if (error) return error;
      continue;
    }
    full_handler_list_u8_t now = {(uint8_t *)rest.ptr, room < rest.len ? (size_t)room : rest.len};
    if (!wasi_io_streams_method_output_stream_write(stream, &now, &closed)) {
      wasi_io_streams_stream_error_free(&closed);
      return NULL;
    }
    rest.ptr += now.len;
    rest.len -= now.len;
  }
  *whole = true;
  return NULL;
}

static const mailroom_error *send_body(const exchange *at, wasi_http_types_own_outgoing_body_t body) {
  wasi_http_types_own_output_stream_t stream;
  bool whole = true;
  if (wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(body), &stream)) {
    const mailroom_error *error = write_body(at, wasi_io_streams_borrow_output_stream(stream), &whole);
    wasi_io_streams_output_stream_drop_own(stream);
    if (error || !whole) {
      wasi_http_types_outgoing_body_drop_own(body);
      return error;
    }
  }
  error_code code;
  return wasi_http_types_static_outgoing_body_finish(body, NULL, &code) ? NULL : failed(at, &code);
}

static const mailroom_error *broken(const exchange *at, wasi_io_streams_stream_error_t *failure) {
  error_code code;
  wasi_http_types_borrow_io_error_t cause = wasi_io_error_borrow_error(failure->val.last_operation_failed);
  bool known = wasi_http_types_http_error_code(cause, &code);
  const mailroom_error *error;
  if (known) {
    error = failed(at, &code);
  } else {
    full_handler_string_t words;
    wasi_io_error_method_error_to_debug_string(cause, &words);
    error = refused(at, MAILROOM_HTTP_FAILED, mailroom_copy(words.ptr, words.len).ptr);
    full_handler_string_free(&words);
  }
  wasi_io_streams_stream_error_free(failure);
  return error;
}

static const mailroom_error *read_stream(const exchange *at, wasi_io_streams_borrow_input_stream_t stream,
                                         mailroom_text *body) {
  size_t room = 0;
  char *bytes = NULL;
  for (;;) {
    full_handler_list_u8_t part;
    wasi_io_streams_stream_error_t end;
    if (!wasi_io_streams_method_input_stream_read(stream, READ_MAX, &part, &end)) {
      if (end.tag == WASI_IO_STREAMS_STREAM_ERROR_LAST_OPERATION_FAILED) return broken(at, &end);
      return NULL;
    }
    if (part.len == 0) {
      const mailroom_error *error = wait(at, wasi_io_streams_method_input_stream_subscribe(stream));
      if (error) return error;
      continue;
    }
    if (body->len + part.len > at->request->body_max) {
      full_handler_list_u8_free(&part);
      return refused(at, MAILROOM_HTTP_TOO_LARGE, "");
    }
    if (body->len + part.len > room) {
      /* Doubled, since what was too small stays in the call's memory. */
      room = 2 * (body->len + part.len);
      char *larger = mailroom_alloc(room + 1);
      if (body->len) memcpy(larger, bytes, body->len);
      bytes = larger;
      body->ptr = bytes;
    }
    memcpy(bytes + body->len, part.ptr, part.len);
    body->len += part.len;
    full_handler_list_u8_free(&part);
  }
}

static void read_headers(wasi_http_types_borrow_incoming_response_t incoming, mailroom_response *response) {
  wasi_http_types_own_fields_t fields = wasi_http_types_method_incoming_response_headers(incoming);
  wasi_http_types_list_tuple2_field_name_field_value_t entries;
  wasi_http_types_method_fields_entries(wasi_http_types_borrow_fields(fields), &entries);
  mailroom_field *headers = mailroom_alloc(entries.len * sizeof *headers);
  for (size_t i = 0; i < entries.len; i++) {
    headers[i].name = mailroom_copy(entries.ptr[i].f0.ptr, entries.ptr[i].f0.len);
    headers[i].value = mailroom_copy(entries.ptr[i].f1.ptr, entries.ptr[i].f1.len);
  }
  response->headers = headers;
  response->header_count = entries.len;
  wasi_http_types_list_tuple2_field_name_field_value_free(&entries);
  wasi_http_types_fields_drop_own(fields);
}

static const mailroom_error *read_response(const exchange *at, wasi_http_types_own_incoming_response_t own,
                                           mailroom_response *response) {
  const mailroom_error *error = NULL;
  wasi_http_types_borrow_incoming_response_t incoming = wasi_http_types_borrow_incoming_response(own);
  wasi_http_types_own_incoming_body_t body;
  wasi_http_types_own_input_stream_t stream;
  response->status = wasi_http_types_method_incoming_response_status(incoming);
  response->body.ptr = "";
  read_headers(incoming, response);
  if (wasi_http_types_method_incoming_response_consume(incoming, &body)) {
    if (wasi_http_types_method_incoming_body_stream(wasi_http_types_borrow_incoming_body(body), &stream)) {
      error = read_stream(at, wasi_io_streams_borrow_input_stream(stream), &response->body);
      wasi_io_streams_input_stream_drop_own(stream);
    }
    wasi_http_types_incoming_body_drop_own(body);
  }
  wasi_http_types_incoming_response_drop_own(own);
  return error;
}

static const mailroom_error *await_response(const exchange *at,
                                            wasi_http_types_borrow_future_incoming_response_t future,
                                            mailroom_response *response) {
  wasi_http_types_result_result_own_incoming_response_error_code_void_t answer;
  while (!wasi_http_types_method_future_incoming_response_get(future, &answer)) {
    const mailroom_error *error = wait(at, wasi_http_types_method_future_incoming_response_subscribe(future));
    if (error) return error;
  }
  if (answer.is_err) return refused(at, MAILROOM_HTTP_FAILED, "the response was taken already");
  if (answer.val.ok.is_err) return failed(at, &answer.val.ok.val.err);
  return read_response(at, answer.val.ok.val.ok, response);
}

const mailroom_error *mailroom_host_http(const mailroom_request *request, mailroom_response *response) {
  exchange at = {.request = request};
  wasi_http_types_own_outgoing_request_t outgoing;
  const mailroom_error *error = make_request(&at, &outgoing);
  if (error) return error;
  if (request->timeout_ms) {
    at.has_timer = true;
    at.timer = wasi_clocks_monotonic_clock_subscribe_duration(request->timeout_ms * 1000000);
  }
  wasi_http_types_own_outgoing_body_t body;
  bool has_body = request->body.len && wasi_http_types_method_outgoing_request_body(
                                           wasi_http_types_borrow_outgoing_request(outgoing), &body);
  wasi_http_outgoing_handler_own_future_incoming_response_t future;
  error_code code;
  if (wasi_http_outgoing_handler_handle(outgoing, NULL, &future, &code)) {
    if (has_body) error = send_body(&at, body);
    if (!error) error = await_response(&at, wasi_http_types_borrow_future_incoming_response(future), response);
    wasi_http_types_future_incoming_response_drop_own(future);
  } else {
    error = failed(&at, &code);
    if (has_body) wasi_http_types_outgoing_body_drop_own(body);
  }
  if (at.has_timer) wasi_io_poll_pollable_drop_own(at.timer);
  return error;
}
