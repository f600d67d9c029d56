/* Requests over wasi:http, for mailroom_sandbox.c. */
#ifndef MAILROOM_HTTP_H
#define MAILROOM_HTTP_H

#include "mailroom.h"

const mailroom_error *mailroom_exchange(const mailroom_request *request, mailroom_response *response);

#endif
