// SPDX-License-Identifier: MIT
// The only place that includes <linux/kvm.h>.
//
// Debian 12's __DECLARE_FLEX_ARRAY puts an empty struct in front of the array. That has size 1 in
// C++, so sizeof(kvm_cpuid2) becomes 12 instead of 8 and every ioctl number derived from such a
// struct is wrong (EINVAL). Redefine the macro before the header is read; the checked ioctl in
// vmm/kvm/kvm.hpp asserts that argument sizes and ioctl numbers agree.
#pragma once

#include <linux/stddef.h>

#undef __DECLARE_FLEX_ARRAY
// NOLINTNEXTLINE(bugprone-macro-parentheses): a declaration, not an expression
#define __DECLARE_FLEX_ARRAY(type, member) type member[0]

#include <linux/kvm.h>

static_assert(sizeof(kvm_cpuid2) == 8, "flexible array members have the wrong size");
