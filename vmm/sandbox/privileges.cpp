// SPDX-License-Identifier: MIT
#include "vmm/sandbox/privileges.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "vmm/base/unique_fd.hpp"

namespace vmm {
namespace {

// Where /proc does not tell which descriptors there are.
constexpr int most_descriptors = 1024;

Result<void> set_limit(__rlimit_resource resource, std::string_view name, std::uint64_t value) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) {
    return system_error("cannot read the limit {}", name);
  }
  limit.rlim_max = std::min<rlim_t>(limit.rlim_max, value);
  limit.rlim_cur = limit.rlim_max;
  return ::setrlimit(resource, &limit) == 0 ? Result<void>{}
                                            : system_error("cannot set the limit {}", name);
}

std::vector<int> open_descriptors() {
  std::vector<int> found;
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end;
       !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    int number = -1;
    std::from_chars(name.data(), name.data() + name.size(), number);
    found.push_back(number);
  }
  if (found.empty()) {
    for (int number = 0; number < most_descriptors; ++number) {
      if (::fcntl(number, F_GETFD) >= 0) {
        found.push_back(number);
      }
    }
  }
  return found;
}

} // namespace

Result<void> forbid_new_privileges() {
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) == 0
             ? Result<void>{}
             : system_error("cannot set no_new_privs");
}

Result<void> drop_capabilities() {
  // EINVAL: a kernel without ambient capabilities, which has none to clear.
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0UL, 0UL, 0UL) != 0 && errno != EINVAL) {
    return system_error("cannot clear the ambient capabilities");
  }
  for (unsigned long capability = 0; ::prctl(PR_CAPBSET_READ, capability) >= 0; ++capability) {
    if (::prctl(PR_CAPBSET_DROP, capability) != 0 && errno != EPERM) {
      return system_error("cannot drop capability {} from the bounding set", capability);
    }
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
  return ::syscall(SYS_capset, &header, none.data()) == 0
             ? Result<void>{}
             : system_error("cannot drop capabilities");
}

Result<void> close_inherited_descriptors() {
  for (const int number : open_descriptors()) {
    const int flags = number > STDERR_FILENO ? ::fcntl(number, F_GETFD) : -1;
    if (flags >= 0 && (flags & FD_CLOEXEC) == 0 && ::close(number) != 0) {
      return system_error("cannot close the inherited descriptor {}", number);
    }
  }
  return {};
}

Result<void> detach_standard_input() {
  const UniqueFd empty(::memfd_create("no-input", MFD_CLOEXEC));
  if (!empty.valid() || ::dup2(empty.get(), STDIN_FILENO) < 0) {
    return system_error("cannot detach standard input");
  }
  return {};
}

int highest_descriptor() {
  int highest = STDERR_FILENO;
  for (const int number : open_descriptors()) {
    // Not the one that /proc was read by.
    highest = ::fcntl(number, F_GETFD) >= 0 ? std::max(highest, number) : highest;
  }
  return highest;
}

Result<void> limit_resources(std::uint64_t file_bytes, const DescriptorNumbers& descriptors) {
  rlimit open{};
  if (::getrlimit(RLIMIT_NOFILE, &open) == 0 && open.rlim_max < descriptors.least) {
    errno = EMFILE;
    return system_error("{} descriptors are needed, {} may be had", descriptors.least,
                        open.rlim_max);
  }
  EBB_TRY(set_limit(RLIMIT_CORE, "core", 0));
  EBB_TRY(set_limit(RLIMIT_FSIZE, "fsize", file_bytes));
  return set_limit(RLIMIT_NOFILE, "nofile", descriptors.most);
}

} // namespace vmm
