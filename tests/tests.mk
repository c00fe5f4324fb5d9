# SPDX-License-Identifier: MIT
# How it is tested: what tests are made of, with which sanitizers, and what runs them. A part of the
# Makefile at the top, and run from there.

TEST_RULES := Makefile tests/tests.mk

# Optimising what the sanitizers added takes three times as long as compiling it: only for what the
# tests spend their time in.
SANITIZED_OPT = -O0
# clang takes half the time: continuous integration has it anyway.
SANITIZED_CXX ?= $(CXX)
# Where variables live in optimised code takes a quarter of its compilation; reports want lines.
SANITIZED_DEBUG = -g1
# A precompiled header is for one level of optimisation: there are two of them.
SANITIZED_PCH = $(call PCH,$(1)$(if $(filter -O1,$(SANITIZED_OPT)),/hot))
UNIT_FLAGS  = $(COMMON) $(SANITIZED_DEBUG) $(SANITIZED_OPT) -fno-omit-frame-pointer -fsanitize=address,undefined \
               -fno-sanitize-recover=undefined -D_GLIBCXX_ASSERTIONS \
               -DEBB_TRACE_DIR='"tests/traces"'

TSAN_FLAGS = $(COMMON) $(SANITIZED_DEBUG) $(SANITIZED_OPT) -fno-omit-frame-pointer -fsanitize=thread

UNIT_SOURCES  := $(call below,tests/unit tests/support) \
                 $(filter-out tools/hvtrace/main.cpp,$(call sources,tools/hvtrace)) \
                 $(filter-out vmm/main.cpp,$(VMM_SOURCES)) $(VMM_ASSEMBLY) \
                 $(GUEST_MM) $(GUEST_LINUX) tools/lab/sim/cache_lines.cpp
# Tests with threads of their own, again under ThreadSanitizer; and the soak, under both. Of the
# vmm, the folders that they reach: what needs a running machine is left out. They are linked from
# an archive, so that the rest of a folder does not ask for more.
HVTRACE_READER := $(filter-out %/main.cpp %/replay.cpp,$(HVTRACE_SOURCES))
THREADED_FOLDERS := base io settings memory trace kvm hints calls sockets measure vcpu control record report debug step
THREADED      := $(foreach folder,$(THREADED_FOLDERS),$(call below,vmm/$(folder)) $(wildcard vmm/$(folder)/*.S)) $(GUEST_MM) guest/linux/threads/kernel_lock.cpp \
                 $(HVTRACE_READER)
TSAN_SOURCES  := tests/unit/main.cpp $(sort $(shell find tests/unit -name '*_threads_test.cpp')) \
                 $(call sources,tests/support)
SOAK_SOURCES  := $(call sources,tests/soak)
BOOT_CASES    := $(patsubst tests/boot/%/guest.cpp,%,$(sort $(wildcard tests/boot/*/guest.cpp)))

UNIT_OBJECTS       := $(call objects,unit,$(UNIT_SOURCES))
TSAN_OBJECTS       := $(call objects,tsan,$(TSAN_SOURCES))
SOAK_TSAN_OBJECTS  := $(call objects,tsan,$(SOAK_SOURCES))
SOAK_ASAN_OBJECTS  := $(call objects,unit,$(SOAK_SOURCES))
BOOT_OBJECTS       := $(call objects,guest,$(BOOT_CASES:%=tests/boot/%/guest.cpp))
HOSTILE_OBJECTS    := $(call objects,guest,$(call sources,tests/hostile) \
                        $(wildcard tests/hostile/*.S))
COMPAT_IMAGES      := $(patsubst tests/compat/%.image.xz,$(B)/tests/compat/%.bin, \
                        $(wildcard tests/compat/*.image.xz))
# Linux programs for machines that have none, linked statically.
BOOT_PROGRAMS      := $(patsubst %,$(B)/tests/programs/%.bin,sites signals clock interrupted stopped preempted computes)
BOOT_IMAGES        := $(BOOT_CASES:%=$(B)/tests/boot/%.bin) $(B)/guest-low.bin $(COMPAT_IMAGES)

##@ Testing
.PHONY: test test-more test-longer test-unit test-tsan test-boot test-programs \
        test-programs-nested test-gdb test-hostile test-failing-host test-pressure test-mutants-apply test-hostile-asan \
        test-matrix test-matrix-short test-model test-nested test-tools mutants soak soak-slice \
        fuzz fuzz-slice fuzz-vm
test: test-tools test-unit test-boot test-programs test-gdb test-hostile test-failing-host test-pressure \
      test-mutants-apply ## tools, unit, boot and gdb tests, hostile guests; T=pattern picks cases
test-longer: test-model test-matrix-short test-tsan test-hostile-asan soak-slice check-alone analyse build-benchmarks ## test-more without fuzzing
test-more: test-longer fuzz-slice ## what takes longer: model, matrix, threads, faults, fuzzing

$(B)/tests/unit_tests: $(UNIT_OBJECTS) $(B)/obj/perfetto.pb.o $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(SANITIZED_CXX) -fsanitize=address,undefined -pthread -o $@ $(linked) $(HVTRACE_LIBS) -lZydis

SANITIZED_PCHS = $(B)/obj/$(1)/library.hpp.gch $(B)/obj/$(1)/hot/library.hpp.gch
$(call SANITIZED_PCHS,unit): vmm/base/library.hpp $(TEST_RULES)
	$(call precompile,$(SANITIZED_CXX) $(UNIT_FLAGS))
$(call SANITIZED_PCHS,tsan): vmm/base/library.hpp $(TEST_RULES)
	$(call precompile,$(SANITIZED_CXX) $(TSAN_FLAGS))

$(B)/obj/unit/%.o: %.cpp $(call SANITIZED_PCHS,unit) $(TEST_RULES)
	$(call say,UCXX,$<)
	$(Q)mkdir -p $(@D) && $(SANITIZED_CXX) $(UNIT_FLAGS) $(call SANITIZED_PCH,unit) -c $< -o $@

HOT_FOLDERS := guest/mm guest/linux/sites tests/support tests/soak tests/unit/guest/mm tests/unit/vmm/trace \
               $(addprefix vmm/,base io boot hints measure record trace)
$(foreach tree,unit tsan,$(foreach hot,$(HOT_FOLDERS),$(B)/obj/$(tree)/$(hot)/%.o)): private SANITIZED_OPT := -O1
$(B)/obj/unit/hot/library.hpp.gch $(B)/obj/tsan/hot/library.hpp.gch: private SANITIZED_OPT := -O1

$(B)/tests/threads_tsan: $(TSAN_OBJECTS) $(B)/obj/tsan/threaded.a $(B)/obj/perfetto.pb.o $(SOURCE_LIST)
$(B)/tests/soak_tsan: $(SOAK_TSAN_OBJECTS) $(B)/obj/tsan/threaded.a $(SOURCE_LIST)
# clang's runtime brings an operator new of its own; that of tests/support comes first.
$(B)/tests/threads_tsan $(B)/tests/soak_tsan:
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(SANITIZED_CXX) -fsanitize=thread -pthread -Wl,-z,muldefs -o $@ $(linked) $(HVTRACE_LIBS)

$(B)/obj/%/threaded.a: $$(call objects,$$*,$(THREADED)) $(SOURCE_LIST)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) crs $@ $(linked)

$(B)/tests/soak_asan: $(SOAK_ASAN_OBJECTS) $(B)/obj/unit/threaded.a $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(SANITIZED_CXX) -fsanitize=address,undefined -pthread -o $@ $(linked) $(VMM_LIBS)

$(B)/obj/tsan/%.o: %.cpp $(call SANITIZED_PCHS,tsan) $(TEST_RULES)
	$(call say,TCXX,$<)
	$(Q)mkdir -p $(@D) && $(SANITIZED_CXX) $(TSAN_FLAGS) $(call SANITIZED_PCH,tsan) -c $< -o $@

$(B)/tests/boot/%.elf: $(GUEST_CORE_OBJECTS) $(B)/obj/guest/tests/boot/%/guest.o $(B)/guest.ld $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(link_guest)
$(B)/tests/compat/%.bin: tests/compat/%.image.xz
	$(call say,XZ,$@)
	$(Q)mkdir -p $(@D) && xz -dc $< > $@

# A guest whose entry point and trap stubs are the attacker's.
$(B)/tests/hostile.elf: GUEST_LINK += -Wl,--wrap=guest_entry,--wrap=trap_stubs
$(B)/tests/hostile.elf: $(GUEST_CORE_OBJECTS) $(HOSTILE_OBJECTS) $(B)/guest.ld $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(link_guest)

# Keeps what is made on the way from source to image.
.SECONDARY:

test-unit: $(B)/tests/unit_tests ## hosted unit tests under ASan and UBSan
	$(B)/tests/unit_tests $(if $(T),--test-case='*$(T)*')

test-tsan: $(B)/tests/threads_tsan ## the unit tests with threads under ThreadSanitizer
	$(B)/tests/threads_tsan $(if $(T),--test-case='*$(T)*')

# The allocator against the host's hint service in every mode, with faults: SECONDS= and SEED=.
# Real guests for eight tenths of the time, the hosted matrix under two sanitizers for the rest.
soak: all $(B)/tests/soak_tsan $(B)/tests/soak_asan ## long runs and adversarial matrix, 20 minutes
	tests/run-soak --seconds $$(( $(SECONDS) * 8 / 10 )) --seed $(SEED)
	$(B)/tests/soak_asan --seconds $$(( $(SECONDS) / 20 )) --seed $(SEED)
	$(B)/tests/soak_tsan --seconds $$(( $(SECONDS) * 3 / 20 )) --seed $(SEED)

soak-slice: all $(B)/tests/soak_tsan ## half a minute of it
	tests/run-soak --seconds 18 --seed $(SEED)
	$(B)/tests/soak_tsan --seconds 15 --seed $(SEED)

mutants: all $(B)/tests/hostile.bin $(B)/tests/failing_host.so $(B)/tests/threads_tsan ## plants bugs one by one: each must be found; T=name
	tests/run-mutants --cxx '$(CXX)' --filter '$(T)'

test-mutants-apply: ## the bugs that `make mutants` plants can still be planted
	tests/run-mutants --apply-only

$(BOOT_PROGRAMS): $(B)/tests/programs/%.bin: tests/programs/%.c $(TEST_RULES)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && gcc -O1 -g1 -static -o $@ $<

test-boot: all $(NESTED_VMM) $(BOOT_IMAGES) $(BOOT_PROGRAMS) ## real images through the real vmm, on KVM or nested
	tests/run-boot-tests $(if $(T),--filter '$(T)')

test-hostile: all $(B)/tests/hostile.bin ## guests that attack the vmm, beside one that does not
	tests/run-hostile-tests $(if $(T),--filter '$(T)')

test-pressure: all $(B)/tests/boot/hold.bin ## guests under one memory cgroup that is too small for all of them
	tests/run-pressure-tests

# Preloaded into the vmm: no line of it is in the product. Not nested: there the vmm is static.
$(B)/tests/failing_host.so: tests/failing_host/shim.cpp $(TEST_RULES)
	$(call say,CXX,$<)
	$(Q)mkdir -p $(@D) && $(CXX) $(filter-out -MMD -MP,$(COMMON)) -O2 -fPIC -shared -o $@ $< -ldl

test-failing-host: all $(B)/tests/failing_host.so ## honest guests on hosts whose system calls fail
	tests/run-boot-tests --via kvm --cases tests/failing_host/cases.cfg $(if $(T),--filter '$(T)')

# The vmm with ASan and UBSan: what an attack does to the process must not go unseen.
$(B)/tests/vmm_asan: $(call objects,unit,$(VMM_SOURCES) $(VMM_ASSEMBLY)) $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(SANITIZED_CXX) -fsanitize=address,undefined -pthread -o $@ $(linked) $(VMM_LIBS)

# In an emulated machine there is the usual vmm alone: these cases are skipped by name there.
test-hostile-asan: $(if $(NESTED_VMM),,$(B)/tests/vmm_asan) $(B)/tests/hostile.bin $(B)/vmm $(B)/guest.bin ## the same attacks on a vmm with ASan and UBSan
	tests/run-hostile-tests --vmm $(B)/tests/vmm_asan $(if $(T),--filter '$(T)')

test-programs: all ## Linux programs in a guest, compared with the host
	tests/run-program-tests $(if $(T),--filter '$(T)')

test-programs-nested: all ## a quarter of them and servers in an emulated machine with KVM, in ten minutes
	tests/run-program-tests --via nested $(if $(T),--filter '$(T)',--every 4)
	$(if $(T),,tools/nested --host-root --plain --memory 6000 -- env EBB_TESTS_EMULATED=1 REQUIRE_KVM=1 \
	  tests/run-tool-tests --filter network)

test-gdb: all $(NESTED_VMM) $(BOOT_IMAGES) ## real gdb on real guests
	tests/run-gdb-tests $(if $(T),--filter '$(T)')

test-matrix: all $(NESTED_VMM) ## every trace on every kind of host with 1, 2 and 4 vCPUs
	tests/run-boot-tests --cases tests/boot/matrix.cfg $(if $(T),--filter '$(T)')

# For every change: what comes later in the traces is in the boot tests.
test-matrix-short: all $(NESTED_VMM) ## the same with the beginning of each trace
	tests/run-boot-tests --cases tests/boot/matrix.cfg --cut $(if $(NESTED_VMM),20000,40000)

TRANSPORTS ?= all
test-nested: all $(B)/vmm-static $(BOOT_IMAGES) $(BOOT_PROGRAMS) ## the boot tests in an emulated machine with KVM
	tests/run-boot-tests --via nested --transports $(TRANSPORTS) $(if $(T),--filter '$(T)')
	tests/run-gdb-tests --via nested $(if $(T),--filter '$(T)')
	$(if $(T),,tests/run-pressure-tests --via nested)

test-model: ## exhaustive check of the report channel's model with spin: about a minute
	tests/run-model-check $(if $(T),--filter '$(T)')

test-tools: all $(B)/tests/failing_host.so $(B)/sharing ## tests of the scripts in tools/
	tests/run-tool-tests

# A target NAME is tests/fuzz/NAME.cpp with what it uses of the folders below, and perhaps inputs to
# begin with in tests/fuzz/NAME.corpus/. What it finds worth keeping goes to build/fuzz/NAME.corpus/.
# libFuzzer comes with clang.
FUZZ_CXX     ?= clang++-19
FUZZ_TARGETS := $(patsubst tests/fuzz/%.cpp,%,$(wildcard tests/fuzz/*.cpp))
FUZZ_FLAGS   := -std=c++23 -I. -isystem $(B)/gen -g -O1 -MMD -MP -w \
                -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZED_FOLDERS := base io settings memory calls files sockets trace hints measure boot control record debug vcpu kvm
FUZZED := $(foreach folder,$(FUZZED_FOLDERS),$(call below,vmm/$(folder)) $(wildcard vmm/$(folder)/*.S)) \
          $(HVTRACE_READER) \
          $(GUEST_LINUX) $(GUEST_MM) tests/support/linux/hosted_memory.cpp
FUZZ_ARCHIVE := $(B)/obj/fuzz/fuzzed.a
$(FUZZ_ARCHIVE): $(call objects,fuzz,$(FUZZED)) $(B)/obj/perfetto.pb.o $(SOURCE_LIST)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) crs $@ $(linked)

FUZZ_CXX_FLAGS = $(FUZZ_CXX) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link
$(B)/obj/fuzz/library.hpp.gch: vmm/base/library.hpp $(TEST_RULES)
	$(call precompile,$(FUZZ_CXX_FLAGS))
$(B)/obj/fuzz/%.o: %.cpp $(B)/obj/fuzz/library.hpp.gch $(TEST_RULES)
	$(call say,FCXX,$<)
	$(Q)mkdir -p $(@D) && $(FUZZ_CXX_FLAGS) $(FUZZ_PCH) -c $< -o $@
FUZZ_PCH = $(call PCH,fuzz)
# Optimising toml++ takes 20 s, and it is not what is fuzzed.
$(B)/obj/fuzz/vmm/settings/config_file.o: private FUZZ_FLAGS += -O0
$(B)/obj/fuzz/vmm/settings/config_file.o: private FUZZ_PCH :=
$(B)/fuzz/%: $(B)/obj/fuzz/tests/fuzz/%.o $(FUZZ_ARCHIVE) $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(FUZZ_CXX) $(FUZZ_FLAGS) -fsanitize=fuzzer -pthread -o $@ $(linked) \
	  $(HVTRACE_LIBS) -lZydis
fuzz-run-%: $(B)/fuzz/%
	$(Q)mkdir -p $(B)/fuzz/$*.corpus
	$< -max_total_time=$(SECONDS) -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 \
	  -artifact_prefix=$(B)/fuzz/$*- $(B)/fuzz/$*.corpus $(wildcard tests/fuzz/$*.corpus)

fuzz: fuzz-run-$(T) ## one reader under libFuzzer: T=name (a file in tests/fuzz), SECONDS=n
SLICE ?= 20
fuzz-slice: SECONDS := $(SLICE)
fuzz-slice: $(FUZZ_TARGETS:%=fuzz-run-%) fuzz-vm ## each of them and the whole machine: SLICE=seconds each
fuzz-vm: $(B)/vmm $(B)/tests/boot/abi_fuzz.bin ## guests that do anything to the ABI: SECONDS=n, SEED=n
	tests/run-vm-fuzz --seconds $(SECONDS) --seed $(SEED)

-include $(HOSTILE_OBJECTS:.o=.d) $(UNIT_OBJECTS:.o=.d) $(BOOT_OBJECTS:.o=.d) $(TSAN_OBJECTS:.o=.d) \
         $(SOAK_TSAN_OBJECTS:.o=.d) $(SOAK_ASAN_OBJECTS:.o=.d) \
         $(patsubst %.o,%.d,$(call objects,tsan,$(THREADED)) $(call objects,fuzz,$(FUZZED)) \
           $(FUZZ_TARGETS:%=$(B)/obj/fuzz/tests/fuzz/%.o))
