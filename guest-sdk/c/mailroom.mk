# For a handler's Makefile, after `MAILROOM = path/to/guest-sdk/c`. `make NAME.core.wasm` builds NAME.c or NAME.cpp,
# `make NAME_test` its test on the host in memory. What they compile of this SDK is kept in build/.

CLANG ?= clang
CLANGXX ?= $(subst clang,clang++,$(CLANG))
MAILROOM_PARTS = mailroom yyjson/yyjson
MAILROOM_WASM = $(patsubst %,build/wasm/%.o,$(MAILROOM_PARTS) mailroom_sandbox mailroom_http bindings/full_handler)
MAILROOM_TEST = $(patsubst %,build/test/%.o,$(MAILROOM_PARTS) testing/mailroom_test)
MAILROOM_HEADERS = $(wildcard $(MAILROOM)/*.h $(MAILROOM)/*/*.h)
MAILROOM_FLAGS = --target=wasm32-wasi -O2 -I$(MAILROOM)
# With the stack before everything else a stack that overflows is a trap; behind the data it would write over them.
MAILROOM_LINK = -mexec-model=reactor -Wl,--strip-debug,--stack-first,-z,stack-size=1048576

%.core.wasm: %.c $(MAILROOM_WASM)
	$(CLANG) $(MAILROOM_FLAGS) $(CFLAGS) $^ $(MAILROOM_LINK) -o $@

%.core.wasm: %.cpp $(MAILROOM_WASM)
	$(CLANGXX) $(MAILROOM_FLAGS) -fno-exceptions $(CXXFLAGS) $^ $(MAILROOM_LINK) -o $@

%_test: %.c %_test.c $(MAILROOM_TEST)
	$(CC) -g -I$(MAILROOM) $(CFLAGS) $^ -o $@

%_test: %.cpp %_test.cpp $(MAILROOM_TEST)
	$(CXX) -g -I$(MAILROOM) $(CXXFLAGS) $^ -o $@

build/wasm/%.o: $(MAILROOM)/%.c $(MAILROOM_HEADERS)
	@mkdir -p $(@D)
	$(CLANG) $(MAILROOM_FLAGS) -c $< -o $@

build/test/%.o: $(MAILROOM)/%.c $(MAILROOM_HEADERS)
	@mkdir -p $(@D)
	$(CC) -g -I$(MAILROOM) $(CFLAGS) -c $< -o $@

.SECONDARY: $(MAILROOM_TEST) $(MAILROOM_WASM)
