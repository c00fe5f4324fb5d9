// SPDX-License-Identifier: MIT
// Whose the process is: users, groups and capabilities; its session, which is of one process; and
// prctl, which sets what else a process is.
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "guest/linux/process/program_calls.hpp"

namespace guest::linux {

namespace {

using Kind = Credentials::Kind;

std::uint32_t id_of(std::uint64_t argument) {
  return static_cast<std::uint32_t>(argument);
}

// The kernel's structures, of which the C library has no names of its own.
struct CapabilityHeader {
  std::uint32_t version = 0;
  std::int32_t process = 0;
};
struct CapabilityWords { // 32 of each, the lower ones first
  std::uint32_t effective = 0;
  std::uint32_t permitted = 0;
  std::uint32_t inheritable = 0;
};
constexpr unsigned word_bits = 32;

// How many words of each there are; 0: no such version.
std::size_t words_of(std::uint32_t version) {
  switch (version) {
  case _LINUX_CAPABILITY_VERSION_1:
    return _LINUX_CAPABILITY_U32S_1;
  case _LINUX_CAPABILITY_VERSION_2:
  case _LINUX_CAPABILITY_VERSION_3:
    return _LINUX_CAPABILITY_U32S_3;
  default:
    return 0;
  }
}

Answer store_ids(const UserMemory& user, const Credentials::Ids& ids, const Args& to) {
  if (!user.may_write(to[0], sizeof ids.real) || !user.may_write(to[1], sizeof ids.effective)) {
    return -EFAULT; // before anything is written
  }
  const bool all = user.store(to[2], ids.saved) && user.store(to[1], ids.effective) &&
                   user.store(to[0], ids.real);
  return all ? 0 : -EFAULT;
}

// What capget and capset begin with: how many words of each set follow; 0 and a word of what is
// wrong, which has no effect when nothing was to follow.
Or<std::size_t> capability_words(const UserMemory& user, std::uint64_t header,
                                 std::int32_t& process) {
  CapabilityHeader asked;
  if (!user.fetch(header, asked)) {
    return std::unexpected(EFAULT);
  }
  process = asked.process;
  const std::size_t words = words_of(asked.version);
  if (words == 0) {
    asked.version = _LINUX_CAPABILITY_VERSION_3;
    return std::unexpected(user.store(header, asked) ? EINVAL : EFAULT);
  }
  return words;
}

} // namespace

// ---- users and groups --------------------------------------------------------------------------

Answer ProgramCalls::sys_getuid(const Args& /*args*/) {
  return self().credentials.ids(Kind::user).real;
}
Answer ProgramCalls::sys_geteuid(const Args& /*args*/) {
  return self().credentials.ids(Kind::user).effective;
}
Answer ProgramCalls::sys_getgid(const Args& /*args*/) {
  return self().credentials.ids(Kind::group).real;
}
Answer ProgramCalls::sys_getegid(const Args& /*args*/) {
  return self().credentials.ids(Kind::group).effective;
}

Answer ProgramCalls::sys_setuid(const Args& args) {
  return -Answer{self().credentials.set(Kind::user, id_of(args[0]))};
}
Answer ProgramCalls::sys_setgid(const Args& args) {
  return -Answer{self().credentials.set(Kind::group, id_of(args[0]))};
}
Answer ProgramCalls::sys_setreuid(const Args& args) {
  return -Answer{self().credentials.set(Kind::user, id_of(args[0]), id_of(args[1]))};
}
Answer ProgramCalls::sys_setregid(const Args& args) {
  return -Answer{self().credentials.set(Kind::group, id_of(args[0]), id_of(args[1]))};
}
Answer ProgramCalls::sys_setresuid(const Args& args) {
  return -Answer{self().credentials.set(
      Kind::user, {.real = id_of(args[0]), .effective = id_of(args[1]), .saved = id_of(args[2])})};
}
Answer ProgramCalls::sys_setresgid(const Args& args) {
  return -Answer{self().credentials.set(
      Kind::group, {.real = id_of(args[0]), .effective = id_of(args[1]), .saved = id_of(args[2])})};
}
Answer ProgramCalls::sys_setfsuid(const Args& args) {
  return self().credentials.set_files(Kind::user, id_of(args[0]));
}
Answer ProgramCalls::sys_setfsgid(const Args& args) {
  return self().credentials.set_files(Kind::group, id_of(args[0]));
}

Answer ProgramCalls::sys_getresuid(const Args& args) {
  return store_ids(user_, self().credentials.ids(Kind::user), args);
}
Answer ProgramCalls::sys_getresgid(const Args& args) {
  return store_ids(user_, self().credentials.ids(Kind::group), args);
}

Answer ProgramCalls::sys_getgroups(const Args& args) {
  const auto room = static_cast<std::int32_t>(args[0]);
  const std::span<const std::uint32_t> groups = self().credentials.groups();
  if (room < 0 || (room != 0 && static_cast<std::size_t>(room) < groups.size())) {
    return -EINVAL;
  }
  for (std::size_t index = 0; room != 0 && index < groups.size(); ++index) {
    if (!user_.store(args[1] + index * sizeof(std::uint32_t), groups[index])) {
      return -EFAULT;
    }
  }
  return static_cast<Answer>(groups.size());
}

Answer ProgramCalls::sys_setgroups(const Args& args) {
  const std::uint64_t count = id_of(args[0]);
  if (!self().credentials.has(CAP_SETGID)) {
    return -EPERM;
  }
  if (count > Credentials::most_groups) {
    return -EINVAL;
  }
  std::vector<std::uint32_t> groups(count);
  for (std::uint64_t index = 0; index < count; ++index) {
    if (!user_.fetch(args[1] + index * sizeof(std::uint32_t), groups[index])) {
      return -EFAULT;
    }
  }
  return -Answer{self().credentials.set_groups(std::move(groups))};
}

// ---- capabilities ------------------------------------------------------------------------------

Answer ProgramCalls::sys_capget(const Args& args) {
  std::int32_t process = 0;
  const Or<std::size_t> words = capability_words(user_, args[0], process);
  if (!words) {
    return words.error() == EINVAL && args[1] == 0 ? 0 : -Answer{words.error()};
  }
  if (process < 0) {
    return -EINVAL;
  }
  if (process != 0 && process != self().id) {
    return find_process(process) != nullptr || process == process_id - 1 ? 0 : -ESRCH;
  }
  const Credentials::Sets& is = self().credentials.capabilities();
  for (std::size_t word = 0; args[1] != 0 && word < *words; ++word) {
    const auto part = [word](Capabilities all) {
      return static_cast<std::uint32_t>(all >> (word * word_bits));
    };
    const CapabilityWords some{part(is.effective), part(is.permitted), part(is.inheritable)};
    if (!user_.store(args[1] + word * sizeof some, some)) {
      return -EFAULT;
    }
  }
  return 0;
}

Answer ProgramCalls::sys_capset(const Args& args) {
  std::int32_t process = 0;
  const Or<std::size_t> words = capability_words(user_, args[0], process);
  if (!words) {
    return -Answer{words.error()};
  }
  if (process != 0 && process != self().id) {
    return -EPERM;
  }
  Credentials::Sets next;
  for (std::size_t word = 0; word < *words; ++word) {
    CapabilityWords some;
    if (!user_.fetch(args[1] + word * sizeof some, some)) {
      return -EFAULT;
    }
    next.effective |= Capabilities{some.effective} << (word * word_bits);
    next.permitted |= Capabilities{some.permitted} << (word * word_bits);
    next.inheritable |= Capabilities{some.inheritable} << (word * word_bits);
  }
  // What no kernel has yet is no offence.
  constexpr Capabilities known = (Capabilities{2} << CAP_LAST_CAP) - 1;
  return -Answer{self().credentials.set_capabilities(
      {next.effective & known, next.permitted & known, next.inheritable & known})};
}

// What would need one that no program in a guest has.
Answer ProgramCalls::sys_not_permitted(const Args& /*args*/) {
  return -EPERM;
}

// ---- what else a process is --------------------------------------------------------------------

Answer ProgramCalls::sys_prctl(const Args& args) {
  const auto [option, first, second, third, fourth, unused] = args;
  const bool has_rest = second != 0 || third != 0 || fourth != 0;
  // Of a setting that is on or off.
  const auto set = [](bool& setting, std::uint64_t to) -> Answer {
    setting = to <= 1 ? to == 1 : setting;
    return to <= 1 ? 0 : -EINVAL;
  };
  const auto give = [&](std::int32_t what) -> Answer {
    return user_.store(first, what) ? 0 : -EFAULT;
  };
  switch (option) {
  case PR_SET_NAME:
  case PR_GET_NAME:
    return option == PR_SET_NAME ? set_name(first)
                                 : (user_.store(first, scheduler_.running().name) ? 0 : -EFAULT);
  case PR_SET_PDEATHSIG: // the parent does not end before
    if (first > last_signal) {
      return -EINVAL;
    }
    self().traits.parent_death_signal = static_cast<std::int32_t>(first);
    return 0;
  case PR_GET_PDEATHSIG:
    return give(self().traits.parent_death_signal);
  case PR_GET_DUMPABLE:
    return self().traits.dumpable ? 1 : 0;
  case PR_SET_DUMPABLE:
    return set(self().traits.dumpable, first);
  case PR_GET_KEEPCAPS:
    return self().credentials.keeps_capabilities ? 1 : 0;
  case PR_SET_KEEPCAPS:
    return set(self().credentials.keeps_capabilities, first);
  case PR_GET_SECUREBITS:
    return 0;
  case PR_GET_SECCOMP:
    return SECCOMP_MODE_DISABLED;
  case PR_CAPBSET_READ:
    return first > CAP_LAST_CAP ? -EINVAL
                                : static_cast<Answer>((self().credentials.bounds() >> first) & 1U);
  case PR_CAPBSET_DROP:
    return first > CAP_LAST_CAP
               ? -EINVAL
               : -Answer{self().credentials.drop_bound(static_cast<unsigned>(first))};
  case PR_GET_TIMERSLACK:
    return static_cast<Answer>(self().traits.timer_slack_ns);
  case PR_SET_TIMERSLACK:
    self().traits.timer_slack_ns =
        static_cast<std::int64_t>(first) > 0 ? first : Traits::default_timer_slack_ns;
    return 0;
  case PR_GET_TSC:
    return give(PR_TSC_ENABLE);
  case PR_SET_CHILD_SUBREAPER:
    self().traits.subreaper = first != 0;
    return 0;
  case PR_GET_CHILD_SUBREAPER:
    return give(self().traits.subreaper ? 1 : 0);
  case PR_SET_NO_NEW_PRIVS:
    if (first != 1 || has_rest) {
      return -EINVAL;
    }
    self().traits.no_new_rights = true;
    return 0;
  case PR_GET_NO_NEW_PRIVS:
    return first != 0 || has_rest ? -EINVAL : Answer{self().traits.no_new_rights ? 1 : 0};
  case PR_SET_THP_DISABLE:
    if (has_rest) {
      return -EINVAL;
    }
    self().traits.no_huge_pages = first != 0;
    return 0;
  case PR_GET_THP_DISABLE:
    return first != 0 || has_rest ? -EINVAL : Answer{self().traits.no_huge_pages ? 1 : 0};
  case PR_CAP_AMBIENT: // none is ever
    if (first == PR_CAP_AMBIENT_CLEAR_ALL) {
      return has_rest ? -EINVAL : 0;
    }
    if (second > CAP_LAST_CAP || third != 0 || fourth != 0 || first > PR_CAP_AMBIENT_CLEAR_ALL ||
        first == 0) {
      return -EINVAL;
    }
    return first == PR_CAP_AMBIENT_RAISE ? -EPERM : 0;
  case PR_SET_VMA:
    return first == PR_SET_VMA_ANON_NAME ? name_memory(second, third, fourth) : -EINVAL;
  default:
    return -EINVAL;
  }
}

// So much of it as there is room for; what is read is one byte less.
Answer ProgramCalls::set_name(std::uint64_t address) {
  std::array<char, Thread::name_bytes> name{};
  for (std::size_t at = 0; at + 1 < name.size(); ++at) {
    if (!user_.fetch(address + at, name[at])) {
      return -EFAULT;
    }
    if (name[at] == '\0') {
      break;
    }
  }
  scheduler_.running().name = name;
  return 0;
}

// For those who look into /proc/self/maps: nobody sees it there.
Answer ProgramCalls::name_memory(std::uint64_t address, std::uint64_t bytes,
                                 std::uint64_t name) const {
  constexpr std::uint64_t longest_name = 79;
  if (name != 0) {
    const Or<std::string_view> text = user_.string_at(name, longest_name, EINVAL);
    if (!text) {
      return -Answer{text.error()};
    }
    const auto may_be = [](char one) {
      return one >= ' ' && one <= '~' &&
             std::string_view("\\`$[]").find(one) == std::string_view::npos;
    };
    if (!std::ranges::all_of(*text, may_be)) {
      return -EINVAL;
    }
  }
  const std::uint64_t whole = abi::align_up(bytes, abi::page_bytes);
  if (address % abi::page_bytes != 0 || whole < bytes || address + whole < address) {
    return -EINVAL;
  }
  return whole == 0 || memory_.allows(address, whole, 0) ? 0 : -ENOMEM;
}

Answer ProgramCalls::sys_personality(const Args& args) {
  constexpr std::uint32_t only_asks = 0xffffffff;
  const std::uint32_t before = self().traits.personality;
  const auto wanted = static_cast<std::uint32_t>(args[0]);
  self().traits.personality = wanted == only_asks ? before : wanted;
  return before;
}

} // namespace guest::linux
