#include <assert.h>

#include "testing/mailroom_test.h"

static void the_total_grows_and_is_published(void) {
  mailroom_test_host *host = mailroom_test_new();
  mailroom_message message =
      mailroom_test_message("orders", "order.placed", "{\"customer\": \"ada\", \"amount_cents\": 4200}");
  message.key = mailroom_data_text("ada");
  mailroom_test_call(host, &mailroom_this_handler, &message);
  const mailroom_test_result *result = mailroom_test_call(host, &mailroom_this_handler, &message);
  assert(result->outcome.ending == MAILROOM_COMPLETED);
  assert(mailroom_equal(mailroom_test_state(host, "ada", "total_cents").bytes, "8400"));
  assert(result->published_count == 1);
  const mailroom_outgoing *changed = &result->published[0].message;
  assert(mailroom_equal(mailroom_text_of(changed->topic), "totals"));
  assert(mailroom_equal(changed->key.bytes, "ada"));
  assert(mailroom_equal(changed->payload.bytes, "{\"customer\":\"ada\",\"total_cents\":8400}"));
  mailroom_test_free(host);
}

static void what_is_no_order_is_rejected(void) {
  mailroom_test_host *host = mailroom_test_new();
  mailroom_message message = mailroom_test_message("orders", "order.placed", "{\"customer\": 7}");
  assert(mailroom_test_call(host, &mailroom_this_handler, &message)->outcome.ending == MAILROOM_REJECTED);
  mailroom_test_free(host);
}

int main(void) {
  the_total_grows_and_is_published();
  what_is_no_order_is_rejected();
  return 0;
}
