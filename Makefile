# SPDX-License-Identifier: MIT
# Non-recursive. Object trees below build/obj: vmm (host), guest (bare metal), unit and tsan (host
# sources and guest/mm again, with sanitizers). Sources are found by folder: a file in vmm/ is part
# of the vmm, one in guest/ of every guest image. How all of it is tested is in tests/tests.mk, how
# sources are looked at in tools/dev/checks.mk, how it is installed in tools/install/install.mk.
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
# Of debug information in what is linked; none: for tools that want to pack it themselves.
DEBUG_PACKING ?= zlib
VMM_FLAGS  := $(COMMON) $(VMM_DEBUG) -O2 -fPIE -fstack-protector-strong -fstack-clash-protection \
              -fcf-protection=full -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
VMM_LINK   := -pie -gz=$(DEBUG_PACKING) -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code,-z,ibt,-z,shstk -pthread
VMM_LIBS   := -lfmt -llzma -lseccomp -lz
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
# The trace reader is its main and the vmm's sources without theirs.
HVTRACE_SOURCES := $(call sources,tools/hvtrace)

# Neighbours are compiled as one source that includes them: most of a compiler's time is for what they
# share. Each folder has the same bundles in every tree. Not in any are those that some list leaves
# out, and those with flags of their own. That each compiles by itself is for `make check-alone`.
BUNDLED := $(filter-out %/main.cpp %/replay.cpp vmm/settings/command_line.cpp vmm/settings/config_file.cpp guest/arch/string.cpp \
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

##@ Building
.PHONY: all vmm vmm-static hvtrace guest guest-low clean help
all: vmm hvtrace guest ## build/vmm, build/hvtrace, build/guest.elf and build/guest.bin
hvtrace: $(B)/hvtrace ## the reader of hypercall traces alone
vmm: $(B)/vmm ## the hypervisor alone
vmm-static: $(B)/vmm-static ## the same, linked statically; tools/nested runs it
guest: $(B)/guest.bin ## the guest image alone
guest-low: $(B)/guest-low.bin ## the same for hosts of ABI 1.1 and older, which want it at a low address

clean: ## remove build/
	rm -rf $(B)
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /\\$$/ { sub(/\\$$/, ""); line = line $$0; next } { $$0 = line $$0; line = "" } \
	  /^[a-z-]+:.*## / { name = $$1; sub(/:.*/, "", name); printf "  %-18s %s\n", name, $$NF }' \
	  $(filter Makefile %.mk,$(MAKEFILE_LIST))
	@printf '\nKnobs: V=1 full command lines, WERROR=0 warnings pass, T=pattern test cases\n'

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
# What inline functions in there need of templates clang makes once, if it is told so.
define precompile
	$(call say,PCH,$@)
	$(Q)mkdir -p $(@D) && cp $< $(@:.gch=) && \
	  $(1) $(if $(findstring clang,$(1)),-fpch-instantiate-templates) -w -x c++-header -c $< -o $@
endef
$(B)/obj/vmm/library.hpp.gch: vmm/base/library.hpp Makefile
	$(call precompile,$(CXX) $(VMM_FLAGS))

$(B)/obj/vmm/%.o: %.cpp $(B)/obj/vmm/library.hpp.gch Makefile
	$(call say,CXX,$<)
	$(Q)mkdir -p $(@D) && $(CXX) $(VMM_FLAGS) $(call PCH,vmm) -c $< -o $@

# What takes the command line apart runs once: half of its compilation is for nothing.
$(B)/obj/vmm/vmm/settings/command_line.o $(B)/obj/vmm/vmm/settings/config_file.o $(B)/obj/vmm/tools/hvtrace/main.o: private VMM_FLAGS += -O1

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
.PHONY: build-benchmarks bench-peers
build-benchmarks: $(BENCHMARKS:%=$(B)/bench/%) $(B)/policy_sim ## what `bench` and `policy-sim` run, without running it
bench: all $(BENCHMARKS:%=$(B)/bench/%) $(B)/tests/boot/spin.bin ## all benchmarks: tables, and build/bench/results.json
	tools/bench all --json $(B)/bench/results.json

bench-peers: all $(NESTED_VMM) ## Linux's free page reporting and this guest on the same page traces: 36 runs of a minute a round
	tools/bench peers

.PHONY: footprint
footprint: all $(NESTED_VMM) ## what the host has resident over what is in use, on every recording in recorded time: 35 runs of half a minute
	tools/bench peers --plan tools/experiments/footprint.toml --results $(B)/results/footprint.jsonl

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

# What more vCPUs cost the allocator, counted: its accesses to memory are told as to ThreadSanitizer,
# whose functions these are. Of what both sides compile inline the linker takes the first, which tells.
SHARING_FLAGS = $(VMM_FLAGS) -fsanitize=thread
$(B)/obj/sharing/%.o: %.cpp Makefile
	$(call say,CXX,$<)
	$(Q)mkdir -p $(@D) && $(CXX) $(SHARING_FLAGS) -c $< -o $@
SHARING_OBJECTS := $(call objects,sharing,$(GUEST_MM)) \
                   $(call objects,vmm,$(addprefix tools/lab/sim/,sharing.cpp cache_lines.cpp access_hooks.cpp))
$(B)/sharing: $(SHARING_OBJECTS) $(SOURCE_LIST)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(VMM_LINK) -o $@ $(linked) -lfmt
.PHONY: sharing
sharing: $(B)/sharing ## what more vCPUs cost the allocator: cache lines that move and locks, counted
	$(B)/sharing

include tests/tests.mk
include tools/dev/checks.mk
include tools/install/install.mk

-include $(wildcard $(B)/obj/*/library.hpp.d $(B)/obj/*/hot/library.hpp.d) $(VMM_OBJECTS:.o=.d) \
         $(HVTRACE_OBJECTS:.o=.d) $(GUEST_CORE_OBJECTS:.o=.d) $(WORKLOAD_OBJECTS:.o=.d) $(SIM_OBJECTS:.o=.d) \
         $(SHARING_OBJECTS:.o=.d) $(BENCH_OBJECTS:.o=.d) $(BENCHMARKS:%=$(B)/obj/vmm/tools/benchmarks/%.d)
