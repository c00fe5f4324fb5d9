// SPDX-License-Identifier: MIT
#include "guest/linux/process/credentials.hpp"

#include <linux/capability.h>

#include <cerrno>
#include <initializer_list>
#include <utility>

namespace guest::linux {

namespace {

// Of what needs a right, this is what there is to be done in a guest.
constexpr Capabilities of_root = [] {
  Capabilities all = 0;
  for (const int one : {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_KILL, CAP_SETGID,
                        CAP_SETUID, CAP_SETPCAP}) {
    all |= Capabilities{1} << static_cast<unsigned>(one);
  }
  return all;
}();

bool is_one_of(std::uint32_t id, std::initializer_list<std::uint32_t> ids) {
  for (const std::uint32_t one : ids) {
    if (id == one) {
      return true;
    }
  }
  return false;
}

bool has_root(const Credentials::Ids& ids) {
  return ids.real == 0 || ids.effective == 0 || ids.saved == 0;
}

} // namespace

Credentials::Credentials(std::uint32_t user, std::uint32_t group)
    : user_{user, user, user, user}, group_{group, group, group, group}, bounds_(of_root) {
  if (user == 0) {
    sets_.effective = sets_.permitted = of_root;
  }
}

bool Credentials::may_set_any(Kind kind) const {
  return has(kind == Kind::user ? CAP_SETUID : CAP_SETGID);
}

// With a change of users come and go capabilities (capabilities(7), "Effect of user ID changes").
void Credentials::take(Kind kind, Ids next) {
  next.files = next.effective;
  if (kind == Kind::group) {
    group_ = next;
    return;
  }
  const Ids before = std::exchange(user_, next);
  if (has_root(before) && !has_root(next) && !keeps_capabilities) {
    sets_.permitted = 0;
    sets_.effective = 0;
  }
  if (before.effective == 0 && next.effective != 0) {
    sets_.effective = 0;
  } else if (before.effective != 0 && next.effective == 0) {
    sets_.effective = sets_.permitted;
  }
}

int Credentials::set(Kind kind, std::uint32_t id) {
  Ids next = ids(kind);
  if (id == kept) {
    return EINVAL;
  }
  if (may_set_any(kind)) {
    next = {.real = id, .effective = id, .saved = id};
  } else if (is_one_of(id, {next.real, next.saved})) {
    next.effective = id;
  } else {
    return EPERM;
  }
  take(kind, next);
  return 0;
}

int Credentials::set(Kind kind, std::uint32_t real, std::uint32_t effective) {
  const Ids is = ids(kind);
  Ids next = is;
  const bool any = may_set_any(kind);
  if ((real != kept && !any && !is_one_of(real, {is.real, is.effective})) ||
      (effective != kept && !any && !is_one_of(effective, {is.real, is.effective, is.saved}))) {
    return EPERM;
  }
  next.real = real != kept ? real : is.real;
  next.effective = effective != kept ? effective : is.effective;
  if (real != kept || (effective != kept && effective != is.real)) {
    next.saved = next.effective;
  }
  take(kind, next);
  return 0;
}

int Credentials::set(Kind kind, const Ids& wanted) {
  const Ids is = ids(kind);
  const bool any = may_set_any(kind);
  const auto may = [&](std::uint32_t id) {
    return id == kept || any || is_one_of(id, {is.real, is.effective, is.saved});
  };
  if (!may(wanted.real) || !may(wanted.effective) || !may(wanted.saved)) {
    return EPERM;
  }
  const auto next = [](std::uint32_t id, std::uint32_t before) { return id != kept ? id : before; };
  take(kind, {.real = next(wanted.real, is.real),
              .effective = next(wanted.effective, is.effective),
              .saved = next(wanted.saved, is.saved)});
  return 0;
}

std::uint32_t Credentials::set_files(Kind kind, std::uint32_t id) {
  Ids& of = kind == Kind::user ? user_ : group_;
  const std::uint32_t before = of.files;
  if (id != kept &&
      (may_set_any(kind) || is_one_of(id, {of.real, of.effective, of.saved, of.files}))) {
    of.files = id;
  }
  return before;
}

int Credentials::set_groups(std::vector<std::uint32_t> groups) {
  if (!may_set_any(Kind::group)) {
    return EPERM;
  }
  if (groups.size() > most_groups) {
    return EINVAL;
  }
  groups_ = std::move(groups);
  return 0;
}

int Credentials::set_capabilities(const Sets& sets) {
  const Capabilities inheritable =
      sets_.inheritable | (has(CAP_SETPCAP) ? bounds_ : 0) | sets_.permitted;
  if ((sets.inheritable & ~inheritable) != 0 || (sets.permitted & ~sets_.permitted) != 0 ||
      (sets.effective & ~sets.permitted) != 0) {
    return EPERM;
  }
  sets_ = sets;
  return 0;
}

int Credentials::drop_bound(unsigned capability) {
  if (!has(CAP_SETPCAP)) {
    return EPERM;
  }
  bounds_ &= ~(Capabilities{1} << capability);
  return 0;
}

} // namespace guest::linux
