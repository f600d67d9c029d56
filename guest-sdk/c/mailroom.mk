# For a handler's Makefile, after `MAILROOM = path/to/guest-sdk/c`. `make NAME.core.wasm` builds NAME.c, `make NAME_test`
# its test on the host in memory.

CLANG ?= clang
MAILROOM_SOURCES = $(MAILROOM)/mailroom.c $(MAILROOM)/yyjson/yyjson.c
MAILROOM_COMPONENT = $(MAILROOM_SOURCES) $(MAILROOM)/mailroom_sandbox.c $(MAILROOM)/mailroom_http.c \
  $(MAILROOM)/bindings/full_handler.c
MAILROOM_TEST = $(MAILROOM_SOURCES) $(MAILROOM)/testing/mailroom_test.c
# With the stack before everything else a stack that overflows is a trap; behind the data it would write over them.
MAILROOM_FLAGS = --target=wasm32-wasi -mexec-model=reactor -O2 -I$(MAILROOM) \
  -Wl,--strip-debug,--stack-first,-z,stack-size=1048576

%.core.wasm: %.c $(MAILROOM_COMPONENT)
	$(CLANG) $(MAILROOM_FLAGS) $(CFLAGS) $^ -o $@

%_test: %.c %_test.c $(MAILROOM_TEST)
	$(CC) -g -I$(MAILROOM) $(CFLAGS) $^ -o $@
