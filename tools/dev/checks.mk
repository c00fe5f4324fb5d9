# SPDX-License-Identifier: MIT
# How sources are looked at without running them: borders, format, analysers, each by itself. A part
# of the Makefile at the top, and run from there.

CHECK_RULES := Makefile tools/dev/checks.mk

##@ Checking
.PHONY: check check-alone check-includes analyse lint format
check: ## folder borders, links between pages, and formatting
	tools/check-layering
	tools/dev/check-links
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
# Of the guest what is compiled hosted, too, is looked at as that.
ALONE_FREESTANDING := $(patsubst %,$(B)/alone/%.ok,$(filter-out $(GUEST_MM) $(GUEST_LINUX),$(filter guest/%,$(ALONE))))
$(ALONE_FREESTANDING): $(B)/alone/%.ok: % $(B)/obj/guest/library.hpp.gch $(CHECK_RULES)
	$(call say,SYNTAX,$<)
	$(Q)mkdir -p $(@D) && $(CXX) $(GUEST_FLAGS) $(call PCH,guest) -MF $@.d -MT $@ -fsyntax-only $< && touch $@
$(filter-out $(ALONE_FREESTANDING),$(ALONE:%=$(B)/alone/%.ok)): $(B)/alone/%.ok: % $(call SANITIZED_PCHS,unit) $(B)/gen/tools/hvtrace/perfetto.pb.h $(CHECK_RULES)
	$(call say,SYNTAX,$<)
	$(Q)mkdir -p $(@D) && $(SANITIZED_CXX) $(UNIT_FLAGS) $(call SANITIZED_PCH,unit) -MF $@.d -MT $@ -fsyntax-only $< && touch $@

# Every source as it is, without what a precompiled header would have included for it.
check-includes: $(LINT:%=$(B)/includes/%.ok) ## sources include what they use, as far as a compiler can tell
$(B)/includes/%.ok: % $(CHECK_RULES)
	$(call say,SYNTAX,$<)
	$(Q)mkdir -p $(@D) && $(CXX) -std=c++23 -I. -isystem $(B)/gen -w -fsyntax-only \
	  $(if $(filter guest/%,$<),-fno-exceptions -fno-rtti) $< && touch $@

-include $(ALONE:%=$(B)/alone/%.ok.d)
