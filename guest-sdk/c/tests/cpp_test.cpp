// The SDK from C++: a handler with the language's own strings.
#include <cassert>
#include <string>

#include "testing/mailroom_test.h"

static mailroom_outcome handle(const mailroom_message *message) {
  yyjson_val *root = nullptr;
  mailroom_text customer{};
  const mailroom_error *error = mailroom_json(message, &root);
  if (!error) error = mailroom_json_text(root, "customer", &customer);
  if (error) return mailroom_failed(error);
  const std::string greeting = "hello " + std::string(customer.ptr, customer.len);
  mailroom_outgoing outgoing{};
  outgoing.topic = "greetings";
  outgoing.event_type = "greeting.sent";
  outgoing.payload = mailroom_data_bytes(greeting.data(), greeting.size());
  error = mailroom_publish(&outgoing, nullptr);
  return error ? mailroom_failed(error) : mailroom_completed();
}

static const char *const topics[] = {"orders", nullptr};
static const mailroom_subscription subscriptions[] = {{topics, nullptr, nullptr, nullptr, false}};

const mailroom_handler mailroom_this_handler = {subscriptions, 1, handle};

int main() {
  mailroom_test_host *host = mailroom_test_new();
  const mailroom_message message = mailroom_test_message("orders", "order.placed", R"({"customer": "ada"})");
  const mailroom_test_result *result = mailroom_test_call(host, &mailroom_this_handler, &message);
  assert(result->outcome.ending == MAILROOM_COMPLETED && result->published_count == 1);
  assert(mailroom_equal(result->published[0].message.payload.bytes, "hello ada"));
  mailroom_test_free(host);
}
