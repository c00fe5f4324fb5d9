# SPDX-License-Identifier: MIT
# How it is installed: what is built is stripped, described and put in its places. A part of the
# Makefile at the top, and run from there.
#
# Places are GNU's: PREFIX or prefix, bindir, libexecdir, datadir, mandir; DESTDIR stands before all of
# them. STRIP_PROGRAMS=0 leaves debug information in vmm and hvtrace, for packagers that take it out
# themselves.

PREFIX      ?= /usr/local
prefix      ?= $(PREFIX)
exec_prefix ?= $(prefix)
bindir      ?= $(exec_prefix)/bin
libexecdir  ?= $(exec_prefix)/libexec
datarootdir ?= $(prefix)/share
datadir     ?= $(datarootdir)
mandir      ?= $(datarootdir)/man
bashdir     ?= $(datadir)/bash-completion/completions
zshdir      ?= $(datadir)/zsh/site-functions
STRIP_PROGRAMS ?= 1
STAGED := $(B)/install

INSTALL_RULES := Makefile tools/install/install.mk

# Debug information goes to a file beside, where debuggers look for it. What remains of guest.elf is
# its table of symbols: the vmm and hvtrace name functions by it.
define separate
	$(call say,STRIP,$@)
	$(Q)mkdir -p $(@D) && rm -f $@.debug && $(OBJCOPY) --only-keep-debug $< $@.debug && chmod 644 $@.debug && \
	  $(OBJCOPY) $(1) --add-gnu-debuglink=$@.debug $< $@
endef
$(STAGED)/guest.elf: $(B)/guest.elf $(INSTALL_RULES)
	$(call separate,--strip-debug)
ifeq ($(STRIP_PROGRAMS),1)
$(STAGED)/vmm $(STAGED)/hvtrace: $(STAGED)/%: $(B)/% $(INSTALL_RULES)
	$(call separate,--strip-all)
else
$(STAGED)/vmm $(STAGED)/hvtrace: $(STAGED)/%: $(B)/% $(INSTALL_RULES)
	$(Q)mkdir -p $(@D) && rm -f $@.debug && cp $< $@
endif
$(STAGED)/guest.bin: $(B)/guest.bin $(INSTALL_RULES)
	$(Q)mkdir -p $(@D) && cp $< $@

STAGED_PROGRAMS := $(addprefix $(STAGED)/,vmm hvtrace guest.bin guest.elf)
INSTALLED_TOOLS := check-kvm cut-page-trace ebbctl experiment program-footprint record-pages report
# As they are called in PATH.
TOOL_COMMANDS := $(patsubst %,ebb-%,$(filter-out ebb%,$(INSTALLED_TOOLS))) $(filter ebb%,$(INSTALLED_TOOLS))

##@ Installing
.PHONY: install uninstall describe check-package
install uninstall: export DESTDIR := $(DESTDIR)
install uninstall: export STAGED := $(STAGED)
install uninstall: export TOOLS := $(INSTALLED_TOOLS)
install uninstall: export bindir := $(bindir)
install uninstall: export libexecdir := $(libexecdir)
install uninstall: export datadir := $(datadir)
install uninstall: export mandir := $(mandir)
install uninstall: export bashdir := $(bashdir)
install uninstall: export zshdir := $(zshdir)
install: $(STAGED_PROGRAMS) describe ## to PREFIX [/usr/local] below DESTDIR []: programs, tools, manual pages, completion
	$(Q)tools/install/install-tree
uninstall: ## take away what install put there, with the same PREFIX and DESTDIR
	$(Q)tools/install/install-tree --remove

# Of what is installed, under the names and with the places that it will have there: the tools are put
# as they will lie. Made anew each time, for the places are given each time.
VERSION = $(shell sed -n 's/.*version = "\(.*\)";/\1/p' vmm/base/version.hpp)
describe: export datadir := $(datadir)
describe: export libexecdir := $(libexecdir)
describe: $(STAGED_PROGRAMS) ## the manual pages and completion alone, into build/install
	$(call say,DESCR,$(STAGED)/man1)
	$(Q)cd $(STAGED) && rm -rf bin tools share && mkdir bin tools && cp -r ../../tools/lab tools/ && \
	  for tool in $(INSTALLED_TOOLS); do \
	    case $$tool in ebb*) name=$$tool ;; *) name=ebb-$$tool ;; esac && \
	    cp ../../tools/$$tool tools/ && ln -s ../tools/$$tool bin/$$name || exit; \
	  done && ln -s ../vmm ../hvtrace bin/ && ln -s "$$datadir/ebb" share
	$(Q)tools/install/describe --into $(STAGED) --extras tools/install/manual \
	  --place "own=$$libexecdir/ebb" --place "share=$$datadir/ebb" --version 'ebb $(VERSION)' \
	  $(addprefix $(STAGED)/bin/,vmm hvtrace $(TOOL_COMMANDS))

check-package: ## the Debian package: built, installed and used in clean roots; as root, some minutes
	tools/dev/check-package
