// SPDX-License-Identifier: MIT
// Which sanitizers this build has: GCC defines macros, clang has features.
#pragma once

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

namespace vmm {

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
inline constexpr bool has_address_sanitizer = true;
#else
inline constexpr bool has_address_sanitizer = false;
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
inline constexpr bool has_thread_sanitizer = true;
#else
inline constexpr bool has_thread_sanitizer = false;
#endif

} // namespace vmm
