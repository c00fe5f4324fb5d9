# SPDX-License-Identifier: MIT
# Non-recursive. Object trees below build/obj: vmm (host), guest (bare metal), unit and tsan (host
# sources and guest/mm again, with sanitizers). Sources are found by folder: a file in vmm/ is part
# of the vmm, one in guest/ of every guest image.
#
# Knobs: V=1 shows full command lines; WERROR=0 lets warnings pass; T=pattern picks test cases;
# SECONDS= and SEED= of the soak.

V      ?= 0
WERROR ?= 1
T      ?=
SECONDS ?= 1200
SEED   ?= 1
B      := build

CXX     ?= g++
OBJCOPY ?= objcopy
TIDY    ?= clang-tidy-19
FORMAT  ?= clang-format

.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDEXPANSION:
.DEFAULT_GOAL := all

Q    := $(if $(filter 1,$(V)),,@)
say   = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' $(1) $(2))

WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wold-style-cast -Wcast-qual -Wsuggest-override \
            $(if $(filter 1,$(WERROR)),-Werror)
# -MMD -MP: each object writes the headers it depends on; a deleted header does not break a build.
# What is included is "./vmm/...", and called "vmm/..." in backtraces all the same.
COMMON   := -std=c++23 -I. -ffile-prefix-map=./= -isystem $(B)/gen -g $(WARNINGS) -MMD -MP

# Hardened as tests/tools/hardening_test wants it. Lines and function names are what backtraces
# need; where variables live (VMM_DEBUG=-g) takes a sixth of the time and five times the space.
VMM_DEBUG  ?= -g1
VMM_FLAGS  := $(COMMON) $(VMM_DEBUG) -O2 -fPIE -fstack-protector-strong -fstack-clash-protection \
              -fcf-protection=full -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
VMM_LINK   := -pie -gz -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code,-z,ibt,-z,shstk -pthread
VMM_LIBS   := -lfmt -llzma -lseccomp
HVTRACE_LIBS := $(VMM_LIBS) -lprotobuf-lite

# The guest has no C++ library and no operating system. Hosted headers are used all the same (fmt
# wants them), so this is -nostdlib rather than -ffreestanding: what they call must be in
# guest/runtime. Frame pointers make backtraces; the guest's body runs at CPL3, so the red zone is
# safe. The image is not moved, but it lies above 2 GiB: -fpie makes addresses relative, and what the
# linker would make of them (--no-relax) is too short for that.
GUEST_FLAGS := $(COMMON) -O2 -fno-exceptions -fno-rtti -fno-threadsafe-statics \
               -fno-use-cxa-atexit -fno-asynchronous-unwind-tables -fno-unwind-tables \
               -fno-stack-protector -fcf-protection=none -fpie -mcmodel=small \
               -fno-omit-frame-pointer -ffunction-sections -fdata-sections -U_FORTIFY_SOURCE
# The vmm reads the whole of guest.elf for its symbols: compressed, what debuggers want is half.
GUEST_LINK  := -static -nostdlib -no-pie -Wl,-z,noexecstack,-z,max-page-size=0x1000 \
               -Wl,--gc-sections,--orphan-handling=error,--build-id=none,--no-relax -gz

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

# In these folders and, with `below`, in all that are in them.
sources = $(sort $(wildcard $(addsuffix /*.cpp,$(1))))
below   = $(sort $(shell find $(1) -name '*.cpp'))

VMM_SOURCES   := $(call below,vmm)
VMM_ASSEMBLY  := $(sort $(shell find vmm -name '*.S'))
GUEST_MM      := $(call below,guest/mm)
GUEST_LINUX   := $(call below,guest/linux)
# What every guest image is made of; a workload or a test's guest.cpp comes on top.
GUEST_CORE    := $(call sources,guest guest/arch guest/runtime guest/kernel guest/program) $(GUEST_MM) $(GUEST_LINUX) \
                 $(sort $(wildcard guest/arch/*.S))
WORKLOADS     := $(call sources,guest/workloads)
UNIT_SOURCES  := $(call below,tests/unit tests/support) \
                 $(filter-out tools/hvtrace/main.cpp,$(call sources,tools/hvtrace)) \
                 $(filter-out vmm/main.cpp,$(VMM_SOURCES)) $(VMM_ASSEMBLY) \
                 $(GUEST_MM) $(GUEST_LINUX)
# Tests with threads of their own, again under ThreadSanitizer; and the soak, under both. Of the
# vmm, the folders that they reach: what needs a running machine is left out. They are linked from
# an archive, so that the rest of a folder does not ask for more.
THREADED_FOLDERS := base io settings memory trace kvm hints calls measure vcpu control record debug step
THREADED      := $(foreach folder,$(THREADED_FOLDERS),$(call below,vmm/$(folder)) $(wildcard vmm/$(folder)/*.S)) $(GUEST_MM)
TSAN_SOURCES  := tests/unit/main.cpp $(sort $(shell find tests/unit -name '*_threads_test.cpp')) \
                 $(call sources,tests/support)
SOAK_SOURCES  := $(call sources,tests/soak)
# The trace reader is its main and the vmm's sources without theirs.
HVTRACE_SOURCES := $(call sources,tools/hvtrace)
BOOT_CASES    := $(patsubst tests/boot/%/guest.cpp,%,$(sort $(wildcard tests/boot/*/guest.cpp)))

# Neighbours are compiled as one source that includes them: most of a compiler's time is for what they
# share. Each folder has the same bundles in every tree. Not in any are those that some list leaves
# out, and those with flags of their own. That each compiles by itself is for `make check-alone`.
BUNDLED := $(filter-out %/main.cpp %/replay.cpp vmm/settings/command_line.cpp guest/arch/string.cpp \
             guest/runtime/format.cpp, $(VMM_SOURCES) $(filter %.cpp,$(GUEST_CORE)) $(WORKLOADS) $(HVTRACE_SOURCES))
$(foreach pair,$(shell tools/dev/bundle-sources -v into=$(B)/gen/bundles $(BUNDLED)), \
  $(eval bundle.$(subst :, := ,$(pair))))
vpath %.bundle.cpp $(B)/gen/bundles
objects = $(patsubst %,$(B)/obj/$(1)/%.o,$(basename $(sort $(foreach source,$(2),$(or $(bundle.$(source)),$(source))))))
# What is linked depends on the list of all sources, too, and is linked anew when one comes or goes:
# of a source that is gone there is no object that could be newer.
SOURCE_LIST := $(B)/sources.list
linked       = $(filter %.o %.a,$^)
VMM_OBJECTS        := $(call objects,vmm,$(VMM_SOURCES) $(VMM_ASSEMBLY))
HVTRACE_OBJECTS    := $(call objects,vmm,$(HVTRACE_SOURCES)) \
                      $(filter-out %/vmm/main.o,$(VMM_OBJECTS)) $(B)/obj/perfetto.pb.o
GUEST_CORE_OBJECTS := $(call objects,guest,$(GUEST_CORE))
WORKLOAD_OBJECTS   := $(call objects,guest,$(WORKLOADS))
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
BOOT_PROGRAMS      := $(patsubst %,$(B)/tests/programs/%.bin,sites signals clock interrupted)
BOOT_IMAGES        := $(BOOT_CASES:%=$(B)/tests/boot/%.bin) $(B)/guest-low.bin $(COMPAT_IMAGES)

##@ Building
.PHONY: all vmm vmm-static hvtrace guest guest-low
all: vmm hvtrace guest ## build/vmm, build/hvtrace, build/guest.elf and build/guest.bin
hvtrace: $(B)/hvtrace ## the reader of hypercall traces alone
vmm: $(B)/vmm ## the hypervisor alone
vmm-static: $(B)/vmm-static ## the same, linked statically; tools/nested runs it
guest: $(B)/guest.bin ## the guest image alone
guest-low: $(B)/guest-low.bin ## the same for hosts of ABI 1.1 and older, which want it at a low address

# A product of a source that is gone would pass for one of today's.
products = $(BOOT_IMAGES) $(BOOT_IMAGES:.bin=.elf) $(BENCHMARKS:%=$(B)/bench/%) $(FUZZ_TARGETS:%=$(B)/fuzz/%)
made     = $(wildcard $(B)/tests/boot/*.bin $(B)/tests/boot/*.elf $(B)/tests/compat/*.bin) \
           $(filter $(patsubst $(B)/obj/vmm/tools/benchmarks/%.d,$(B)/bench/%, \
             $(wildcard $(B)/obj/vmm/tools/benchmarks/*.d)),$(wildcard $(B)/bench/*)) \
           $(filter $(patsubst $(B)/obj/fuzz/tests/fuzz/%.d,$(B)/fuzz/%, \
             $(wildcard $(B)/obj/fuzz/tests/fuzz/*.d)),$(wildcard $(B)/fuzz/*))
# Each make writes a list of its own: several may run in one tree.
.PHONY: force
force:
$(SOURCE_LIST): force
	$(Q)mkdir -p $(@D) && new=$@.$$$$ && \
	  find vmm guest tests tools linker -name '*.cpp' -o -name '*.S' -o -name '*.image.xz' | \
	    LC_ALL=C sort >$$new && \
	  if cmp -s $$new $@; then rm -f $$new; else rm -f $(filter-out $(products),$(made)) && mv $$new $@; fi

$(B)/vmm: $(VMM_OBJECTS) $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(VMM_LINK) -o $@ $(linked) $(VMM_LIBS)

$(B)/vmm-static: $(VMM_OBJECTS) $(B)/obj/vmm/linker/fmt_static.o $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(Q)$(CXX) -static -no-pie -pthread -o $@ $(linked) $(filter-out -lfmt,$(VMM_LIBS))

$(B)/hvtrace: $(HVTRACE_OBJECTS) $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(VMM_LINK) -o $@ $(linked) $(HVTRACE_LIBS)

# Generated from the schema; warnings in it are not ours to mend.
$(B)/gen/tools/hvtrace/perfetto.pb.h: tools/hvtrace/perfetto.proto Makefile
	$(call say,PROTOC,$<)
	$(Q)mkdir -p $(B)/gen && protoc --cpp_out=$(B)/gen $<
$(B)/obj/perfetto.pb.o: $(B)/gen/tools/hvtrace/perfetto.pb.h
	$(call say,CXX,$(<:.h=.cc))
	$(Q)mkdir -p $(@D) && $(CXX) -std=c++23 -O2 -fPIE -w -I$(B)/gen -c $(<:.h=.cc) -o $@
PERFETTO_USERS := $(shell grep -rl --include=*.cpp perfetto.pb.h tools/hvtrace tests/unit)
$(foreach tree,vmm unit fuzz,$(call objects,$(tree),$(PERFETTO_USERS))): $(B)/gen/tools/hvtrace/perfetto.pb.h

# Reading the libraries' headers is half of compiling: for each tree of objects they are read once.
# g++ and clang look for FILE.gch where FILE is included; ccache must hear that this is meant. The
# copy of FILE beside it is for a compiler that cannot use the other. A source that forgot a header
# is found by `make check-includes`, which does without.
export CCACHE_SLOPPINESS := pch_defines,time_macros
PCH = -Winvalid-pch -include $(B)/obj/$(1)/library.hpp
define precompile
	$(call say,PCH,$@)
	$(Q)mkdir -p $(@D) && cp $< $(@:.gch=) && $(1) -w -x c++-header -c $< -o $@
endef
$(B)/obj/vmm/library.hpp.gch: vmm/base/library.hpp Makefile
	$(call precompile,$(CXX) $(VMM_FLAGS))

$(B)/obj/vmm/%.o: %.cpp $(B)/obj/vmm/library.hpp.gch Makefile
	$(call say,CXX,$<)
	$(Q)mkdir -p $(@D) && $(CXX) $(VMM_FLAGS) $(call PCH,vmm) -c $< -o $@

# What takes the command line apart runs once: half of its compilation is for nothing.
$(B)/obj/vmm/vmm/settings/command_line.o $(B)/obj/vmm/tools/hvtrace/main.o: private VMM_FLAGS += -O1

$(B)/obj/guest/library.hpp.gch: guest/runtime/library.hpp Makefile
	$(call precompile,$(CXX) $(GUEST_FLAGS))

$(B)/obj/guest/%.o: %.cpp $(B)/obj/guest/library.hpp.gch Makefile
	$(call say,GCXX,$<)
	$(Q)mkdir -p $(@D) && $(CXX) $(GUEST_FLAGS) $(GUEST_PCH) -c $< -o $@
GUEST_PCH = $(call PCH,guest)
# They define what the headers declare, or compile a library with macros of their own.
$(B)/obj/guest/guest/arch/string.o $(B)/obj/guest/guest/runtime/format.o: private GUEST_PCH :=

# A rule each: make takes a pattern rule with several targets to make all of them at once.
define assemble
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D) && $(CXX) -I. -g -MMD -MP $(ASSEMBLE_FLAGS) -c $< -o $@
endef
$(B)/obj/vmm/%.o: %.S Makefile
	$(assemble)
$(B)/obj/unit/%.o: %.S Makefile
	$(assemble)
$(B)/obj/tsan/%.o: %.S Makefile
	$(assemble)
$(B)/obj/fuzz/%.o: %.S Makefile
	$(assemble)

$(B)/obj/guest/%.o: %.S Makefile
	$(assemble)

# The vdso is linked alone and becomes data of the guest.
VDSO_OBJECTS := $(patsubst %.cpp,$(B)/obj/vdso/%.o,$(call sources,guest/vdso))
$(VDSO_OBJECTS): $(B)/obj/vdso/%.o: %.cpp Makefile
	$(call say,GCXX,$<)
	$(Q)mkdir -p $(@D) && $(CXX) $(GUEST_FLAGS) -fPIC -c $< -o $@
$(B)/vdso.ld: linker/vdso.ld.S guest/arch/vdso_clock.h Makefile
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CXX) -E -P -x c -I. $< -o $@
$(B)/vdso.so: $(VDSO_OBJECTS) $(B)/vdso.ld
	$(call say,LINK,$@)
	$(Q)$(CXX) -shared -nostdlib -Wl,-soname=linux-vdso.so.1,--hash-style=both,--build-id=none,-Bsymbolic \
	  -Wl,-z,noexecstack,-z,max-page-size=0x1000,--orphan-handling=error -s -T $(B)/vdso.ld -o $@ $(VDSO_OBJECTS)
$(B)/obj/guest/guest/arch/vdso_image.o: ASSEMBLE_FLAGS = -DEBB_VDSO_FILE='"$(B)/vdso.so"'
$(B)/obj/guest/guest/arch/vdso_image.o: $(B)/vdso.so

$(B)/guest.ld $(B)/guest-low.ld: linker/guest.ld.S shared/layout.h Makefile
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CXX) -E -P -x c -I. $(if $(findstring low,$@),-DEBB_LOW_IMAGE) $< -o $@

link_guest = $(Q)mkdir -p $(@D) && $(CXX) $(GUEST_LINK) -T $(filter %.ld,$^) -o $@ \
             $(filter %.o,$^) -lgcc

$(B)/guest.elf: $(GUEST_CORE_OBJECTS) $(WORKLOAD_OBJECTS) $(B)/guest.ld $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(link_guest)

$(B)/guest-low.elf: $(GUEST_CORE_OBJECTS) $(WORKLOAD_OBJECTS) $(B)/guest-low.ld $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(link_guest)

%.bin: %.elf
	$(call say,OBJCOPY,$@)
	$(Q)$(OBJCOPY) -O binary $< $@

# What running under emulation needs on top, where there is no KVM.
NESTED_VMM := $(if $(filter nested,$(shell tools/on-kvm --which)),$(B)/vmm-static)

##@ Running
.PHONY: run
run: all $(NESTED_VMM) ## the main job: replay the shipped sqlite trace at recorded speed
	tools/on-kvm $(B)/vmm $(B)/guest.bin --mem 2G --backing 4k --report order=4 --workload replay \
	  --speed real --input tests/traces/sqlite.pgt.xz

##@ Measuring
.PHONY: bench
# Google Benchmark programs, and what tools/bench runs them beside.
BENCHMARKS    := $(patsubst tools/benchmarks/%.cpp,%,$(call sources,tools/benchmarks))
BENCH_OBJECTS := $(call objects,vmm,$(GUEST_MM)) $(filter-out %/vmm/main.o,$(VMM_OBJECTS))
$(BENCHMARKS:%=$(B)/bench/%): $(B)/bench/%: $(B)/obj/vmm/tools/benchmarks/%.o $(BENCH_OBJECTS) $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CXX) $(VMM_LINK) -o $@ $(linked) -lbenchmark $(VMM_LIBS)
# In CI: nobody runs these often enough to see that they do not build any more.
.PHONY: build-benchmarks
build-benchmarks: $(BENCHMARKS:%=$(B)/bench/%) $(B)/policy_sim ## what `bench` and `policy-sim` run, without running it
bench: all $(BENCHMARKS:%=$(B)/bench/%) $(B)/tests/boot/spin.bin ## all benchmarks: tables, and build/bench/results.json
	tools/bench all --json $(B)/bench/results.json

# What each policy would be worth, in recorded time and at fixed unit costs.
SIM_OBJECTS := $(call objects,vmm,tools/lab/sim/policy_sim.cpp \
                 $(GUEST_MM)) $(filter-out %/vmm/main.o,$(VMM_OBJECTS))
$(B)/policy_sim: $(SIM_OBJECTS) $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(VMM_LINK) -o $@ $(linked) $(VMM_LIBS)
POLICY_TRACES ?= $(wildcard tests/traces/*.pgt.xz tests/traces/recorded/*.pgt.xz)
.PHONY: policy-sim
policy-sim: $(B)/policy_sim ## what every policy would be worth on the shipped traces, in simulation: 4 minutes
	$(B)/policy_sim $(POLICY_TRACES)
.PHONY: policy-twins
policy-twins: $(B)/policy_sim ## why no policy can be within 5 % of the best on every trace: two that differ at their end
	tools/lab/sim/twins 0.6 $(B)/twins
	$(B)/policy_sim $(B)/twins/ends.pgt.xz $(B)/twins/wants.pgt.xz

##@ Testing
.PHONY: test test-more test-longer test-unit test-tsan test-boot test-programs test-gdb test-hostile test-failing-host \
        test-pressure test-mutants-apply test-hostile-asan test-matrix test-matrix-short test-model test-nested \
        test-tools mutants soak soak-slice fuzz fuzz-slice fuzz-vm check check-alone check-includes analyse lint format
test: test-tools test-unit test-boot test-programs test-gdb test-hostile test-failing-host test-pressure \
      test-mutants-apply ## tools, unit, boot and gdb tests, hostile guests; T=pattern picks cases
test-longer: test-model test-matrix-short test-tsan test-hostile-asan soak-slice check-alone analyse build-benchmarks ## test-more without fuzzing
test-more: test-longer fuzz-slice ## what takes longer: model, matrix, threads, faults, fuzzing

$(B)/tests/unit_tests: $(UNIT_OBJECTS) $(B)/obj/perfetto.pb.o $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(SANITIZED_CXX) -fsanitize=address,undefined -pthread -o $@ $(linked) $(HVTRACE_LIBS) -lZydis

SANITIZED_PCHS = $(B)/obj/$(1)/library.hpp.gch $(B)/obj/$(1)/hot/library.hpp.gch
$(call SANITIZED_PCHS,unit): vmm/base/library.hpp Makefile
	$(call precompile,$(SANITIZED_CXX) $(UNIT_FLAGS))
$(call SANITIZED_PCHS,tsan): vmm/base/library.hpp Makefile
	$(call precompile,$(SANITIZED_CXX) $(TSAN_FLAGS))

$(B)/obj/unit/%.o: %.cpp $(call SANITIZED_PCHS,unit) Makefile
	$(call say,UCXX,$<)
	$(Q)mkdir -p $(@D) && $(SANITIZED_CXX) $(UNIT_FLAGS) $(call SANITIZED_PCH,unit) -c $< -o $@

HOT_FOLDERS := guest/mm tests/support tests/soak tests/unit/guest/mm tests/unit/vmm/trace \
               $(addprefix vmm/,base io boot hints measure record trace)
$(foreach tree,unit tsan,$(foreach hot,$(HOT_FOLDERS),$(B)/obj/$(tree)/$(hot)/%.o)): private SANITIZED_OPT := -O1
$(B)/obj/unit/hot/library.hpp.gch $(B)/obj/tsan/hot/library.hpp.gch: private SANITIZED_OPT := -O1

$(B)/tests/threads_tsan: $(TSAN_OBJECTS) $(B)/obj/tsan/threaded.a $(SOURCE_LIST)
$(B)/tests/soak_tsan: $(SOAK_TSAN_OBJECTS) $(B)/obj/tsan/threaded.a $(SOURCE_LIST)
# clang's runtime brings an operator new of its own; that of tests/support comes first.
$(B)/tests/threads_tsan $(B)/tests/soak_tsan:
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(SANITIZED_CXX) -fsanitize=thread -pthread -Wl,-z,muldefs -o $@ $(linked) $(VMM_LIBS)

$(B)/obj/%/threaded.a: $$(call objects,$$*,$(THREADED)) $(SOURCE_LIST)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) crs $@ $(linked)

$(B)/tests/soak_asan: $(SOAK_ASAN_OBJECTS) $(B)/obj/unit/threaded.a $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(SANITIZED_CXX) -fsanitize=address,undefined -pthread -o $@ $(linked) $(VMM_LIBS)

$(B)/obj/tsan/%.o: %.cpp $(call SANITIZED_PCHS,tsan) Makefile
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

$(BOOT_PROGRAMS): $(B)/tests/programs/%.bin: tests/programs/%.c Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && gcc -O1 -static -o $@ $<

test-boot: all $(NESTED_VMM) $(BOOT_IMAGES) $(BOOT_PROGRAMS) ## real images through the real vmm, on KVM or nested
	tests/run-boot-tests $(if $(T),--filter '$(T)')

test-hostile: all $(B)/tests/hostile.bin ## guests that attack the vmm, beside one that does not
	tests/run-hostile-tests $(if $(T),--filter '$(T)')

test-pressure: all $(B)/tests/boot/hold.bin ## guests under one memory cgroup that is too small for all of them
	tests/run-pressure-tests

# Preloaded into the vmm: no line of it is in the product.
$(B)/tests/failing_host.so: tests/failing_host/shim.cpp Makefile
	$(call say,CXX,$<)
	$(Q)mkdir -p $(@D) && $(CXX) $(filter-out -MMD -MP,$(COMMON)) -O2 -fPIC -shared -o $@ $< -ldl

test-failing-host: all $(B)/tests/failing_host.so ## honest guests on hosts whose system calls fail
	tests/run-boot-tests --cases tests/failing_host/cases.cfg $(if $(T),--filter '$(T)')

# The vmm with ASan and UBSan: what an attack does to the process must not go unseen.
$(B)/tests/vmm_asan: $(call objects,unit,$(VMM_SOURCES) $(VMM_ASSEMBLY)) $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(SANITIZED_CXX) -fsanitize=address,undefined -pthread -o $@ $(linked) $(VMM_LIBS)

test-hostile-asan: $(B)/tests/vmm_asan $(B)/tests/hostile.bin $(B)/vmm $(B)/guest.bin ## the same attacks on a vmm with ASan and UBSan
	tests/run-hostile-tests --vmm $(B)/tests/vmm_asan $(if $(T),--filter '$(T)')

test-programs: all ## Linux programs in a guest, compared with the host
	tests/run-program-tests $(if $(T),--filter '$(T)')

test-gdb: all $(NESTED_VMM) $(BOOT_IMAGES) ## real gdb on real guests
	tests/run-gdb-tests $(if $(T),--filter '$(T)')

test-matrix: all $(NESTED_VMM) ## every trace on every kind of host with 1, 2 and 4 vCPUs
	tests/run-boot-tests --cases tests/boot/matrix.cfg $(if $(T),--filter '$(T)')

# For every change: what comes later in the traces is in the boot tests.
test-matrix-short: all $(NESTED_VMM) ## the same with the beginning of each trace
	tests/run-boot-tests --cases tests/boot/matrix.cfg --cut 40000

TRANSPORTS ?= all
test-nested: all $(B)/vmm-static $(BOOT_IMAGES) $(BOOT_PROGRAMS) ## the boot tests in an emulated machine with KVM
	tests/run-boot-tests --via nested --transports $(TRANSPORTS) $(if $(T),--filter '$(T)')
	tests/run-gdb-tests --via nested $(if $(T),--filter '$(T)')
	$(if $(T),,tests/run-pressure-tests --via nested)

test-model: ## exhaustive check of the report channel's model with spin: about a minute
	tests/run-model-check $(if $(T),--filter '$(T)')

test-tools: all $(B)/tests/failing_host.so ## tests of the scripts in tools/
	tests/run-tool-tests

# A target NAME is tests/fuzz/NAME.cpp with what it uses of the folders below, and perhaps inputs to
# begin with in tests/fuzz/NAME.corpus/. What it finds worth keeping goes to build/fuzz/NAME.corpus/.
# libFuzzer comes with clang.
FUZZ_CXX     ?= clang++-19
FUZZ_TARGETS := $(patsubst tests/fuzz/%.cpp,%,$(wildcard tests/fuzz/*.cpp))
FUZZ_FLAGS   := -std=c++23 -I. -isystem $(B)/gen -g -O1 -MMD -MP -w \
                -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZED_FOLDERS := base io settings memory calls files trace hints measure boot control debug vcpu kvm
FUZZED := $(foreach folder,$(FUZZED_FOLDERS),$(call below,vmm/$(folder)) $(wildcard vmm/$(folder)/*.S)) \
          $(filter-out %/main.cpp %/replay.cpp,$(HVTRACE_SOURCES)) \
          $(GUEST_LINUX) $(GUEST_MM) tests/support/linux/hosted_memory.cpp
FUZZ_ARCHIVE := $(B)/obj/fuzz/fuzzed.a
$(FUZZ_ARCHIVE): $(call objects,fuzz,$(FUZZED)) $(B)/obj/perfetto.pb.o $(SOURCE_LIST)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) crs $@ $(linked)

FUZZ_CXX_FLAGS = $(FUZZ_CXX) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link
$(B)/obj/fuzz/library.hpp.gch: vmm/base/library.hpp Makefile
	$(call precompile,$(FUZZ_CXX_FLAGS))
$(B)/obj/fuzz/%.o: %.cpp $(B)/obj/fuzz/library.hpp.gch Makefile
	$(call say,FCXX,$<)
	$(Q)mkdir -p $(@D) && $(FUZZ_CXX_FLAGS) $(call PCH,fuzz) -c $< -o $@
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

check: ## folder borders and formatting
	tools/check-layering
	$(Q)$(FORMAT) --dry-run --Werror $(FORMATTED)

# Beside clang-tidy, which `make lint` runs: what cppcheck knows of lifetimes and bounds. It parses
# C++20; unmatched or unknown macros of libraries are not its business.
CPPCHECK ?= cppcheck
ANALYSED := $(VMM_SOURCES) $(HVTRACE_SOURCES) $(filter %.cpp,$(GUEST_CORE)) $(WORKLOADS)
analyse: ## cppcheck over the vmm, its tools and the guest
	$(call say,CHECK,'$(words $(ANALYSED)) sources')
	$(Q)$(CPPCHECK) -q -j2 --std=c++20 --language=c++ --platform=unix64 -I. --inline-suppr \
	  --enable=warning,performance,portability --suppressions-list=tools/dev/cppcheck-suppressions \
	  --library=posix --library=gnu --error-exitcode=1 $(ANALYSED)

FORMATTED := $(sort $(shell find vmm guest shared tests tools -name '*.cpp' -o -name '*.hpp'))
format: ## rewrite sources with clang-format
	$(FORMAT) -i $(FORMATTED)

LINT := $(VMM_SOURCES) $(HVTRACE_SOURCES) $(filter %.cpp,$(GUEST_CORE)) $(WORKLOADS) \
        $(call below,tests/unit tests/soak)
lint: $(LINT:%=$(B)/lint/%.ok) ## clang-tidy over all sources
$(B)/lint/%.ok: % .clang-tidy
	$(call say,TIDY,$<)
	$(Q)mkdir -p $(@D) && $(TIDY) --quiet $< -- -std=c++23 -I. -isystem $(B)/gen \
	  $(if $(filter guest/%,$<),-fno-exceptions -fno-rtti) 2>/dev/null && touch $@

# What comes behind another in a bundle sees what that includes: without it, only looked at.
ALONE := $(foreach source,$(BUNDLED),$(if $(filter-out $(source:.cpp=.bundle.cpp),$(bundle.$(source))),$(source)))
check-alone: $(ALONE:%=$(B)/alone/%.ok) ## every source compiles without its bundle
$(B)/alone/guest/%.ok: guest/% $(B)/obj/guest/library.hpp.gch Makefile
	$(call say,SYNTAX,$<)
	$(Q)mkdir -p $(@D) && $(CXX) $(GUEST_FLAGS) $(call PCH,guest) -MF $@.d -MT $@ -fsyntax-only $< && touch $@
$(B)/alone/%.ok: % $(call SANITIZED_PCHS,unit) $(B)/gen/tools/hvtrace/perfetto.pb.h Makefile
	$(call say,SYNTAX,$<)
	$(Q)mkdir -p $(@D) && $(SANITIZED_CXX) $(UNIT_FLAGS) $(call SANITIZED_PCH,unit) -MF $@.d -MT $@ -fsyntax-only $< && touch $@

# Every source as it is, without what a precompiled header would have included for it.
check-includes: $(LINT:%=$(B)/includes/%.ok) ## sources include what they use, as far as a compiler can tell
$(B)/includes/%.ok: % Makefile
	$(call say,SYNTAX,$<)
	$(Q)mkdir -p $(@D) && $(CXX) -std=c++23 -I. -isystem $(B)/gen -w -fsyntax-only \
	  $(if $(filter guest/%,$<),-fno-exceptions -fno-rtti) $< && touch $@

##@ Other
.PHONY: clean help
clean: ## remove build/
	rm -rf $(B)

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /\\$$/ { sub(/\\$$/, ""); line = line $$0; next } { $$0 = line $$0; line = "" } \
	  /^[a-z-]+:.*## / { name = $$1; sub(/:.*/, "", name); printf "  %-18s %s\n", name, $$NF }' \
	  $(firstword $(MAKEFILE_LIST))
	@printf '\nKnobs: V=1 full command lines, WERROR=0 warnings pass, T=pattern test cases\n'

-include $(wildcard $(B)/obj/*/library.hpp.d $(B)/obj/*/hot/library.hpp.d) $(VMM_OBJECTS:.o=.d) $(HVTRACE_OBJECTS:.o=.d) $(GUEST_CORE_OBJECTS:.o=.d) \
         $(WORKLOAD_OBJECTS:.o=.d) $(HOSTILE_OBJECTS:.o=.d) $(UNIT_OBJECTS:.o=.d) $(BOOT_OBJECTS:.o=.d) \
         $(SIM_OBJECTS:.o=.d) $(BENCH_OBJECTS:.o=.d) $(BENCHMARKS:%=$(B)/obj/vmm/tools/benchmarks/%.d) \
         $(TSAN_OBJECTS:.o=.d) $(SOAK_TSAN_OBJECTS:.o=.d) $(SOAK_ASAN_OBJECTS:.o=.d) \
         $(ALONE:%=$(B)/alone/%.ok.d) $(patsubst %.o,%.d,$(call objects,tsan,$(THREADED)) $(call objects,fuzz,$(FUZZED)) \
         $(FUZZ_TARGETS:%=$(B)/obj/fuzz/tests/fuzz/%.o))
