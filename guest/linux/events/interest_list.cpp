// SPDX-License-Identifier: MIT
#include "guest/linux/events/interest_list.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

#include "guest/linux/files/poll_events.hpp"

namespace guest::linux {

namespace {

static_assert(std::uint32_t{EPOLLIN} == POLLIN && std::uint32_t{EPOLLOUT} == POLLOUT &&
              std::uint32_t{EPOLLERR} == POLLERR && std::uint32_t{EPOLLHUP} == POLLHUP &&
              std::uint32_t{EPOLLRDHUP} == POLLRDHUP && std::uint32_t{EPOLLRDNORM} == POLLRDNORM &&
              std::uint32_t{EPOLLWRNORM} == POLLWRNORM);

constexpr std::uint32_t edge = EPOLLET;
constexpr std::uint32_t once = EPOLLONESHOT;
constexpr std::uint32_t exclusive = EPOLLEXCLUSIVE;
constexpr std::uint32_t goes_with_exclusive = std::uint32_t{EPOLLIN} | EPOLLOUT | EPOLLERR |
                                              EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;

} // namespace

template <typename Visit> void InterestList::visit(Visit visit) const {
  for (const Interest& interest : interests_) {
    if (const std::shared_ptr<OpenFile> open = interest.file.lock(); open && !interest.is_over) {
      visit(interest, *open->file);
    }
  }
}

void InterestList::forget_closed() {
  std::erase_if(interests_, [](const Interest& interest) { return interest.file.expired(); });
}

InterestList::Interest* InterestList::find(const Key& key) {
  forget_closed();
  for (Interest& interest : interests_) {
    if (interest.descriptor == key.descriptor && interest.file.lock() == key.file) {
      return &interest;
    }
  }
  return nullptr;
}

// ---- lists in lists ----------------------------------------------------------------------------

unsigned InterestList::depth_below(const InterestList& unwanted, unsigned at) const {
  if (this == &unwanted || at > most_nested) {
    return most_nested + 1;
  }
  unsigned deepest = 0;
  for (const Interest& interest : interests_) {
    const std::shared_ptr<OpenFile> open = interest.file.lock();
    if (const InterestList* const below = open ? open->file->interests() : nullptr) {
      deepest = std::max(deepest, below->depth_below(unwanted, at + 1) + 1);
    }
  }
  return deepest;
}

unsigned InterestList::depth_above(unsigned at) const {
  if (at > most_nested) {
    return most_nested + 1;
  }
  unsigned highest = 0;
  for (const std::weak_ptr<OpenFile>& holder : holders_) {
    const std::shared_ptr<OpenFile> open = holder.lock();
    const InterestList* const above = open ? open->file->interests() : nullptr;
    const bool holds = above != nullptr && std::ranges::any_of(above->interests_, [&](auto& one) {
                         const std::shared_ptr<OpenFile> held = one.file.lock();
                         return held && held->file.get() == this;
                       });
    if (holds) {
      highest = std::max(highest, above->depth_above(at + 1) + 1);
    }
  }
  return highest;
}

// ---- what is wanted ----------------------------------------------------------------------------

int InterestList::add(const std::shared_ptr<OpenFile>& own, const Key& key, const Event& wanted) {
  InterestList* const other = key.file->file->interests();
  if ((wanted.events & exclusive) != 0 &&
      ((wanted.events & ~goes_with_exclusive) != 0 || other != nullptr)) {
    return EINVAL;
  }
  if (other != nullptr) {
    if (other->depth_below(*this, 0) + 1 + depth_above(0) > most_nested) {
      return ELOOP;
    }
  }
  if (find(key) != nullptr) {
    return EEXIST;
  }
  if (other != nullptr) {
    std::erase_if(other->holders_, [](const auto& holder) { return holder.expired(); });
    other->holders_.push_back(own);
  }
  interests_.push_back({.descriptor = key.descriptor, .file = key.file, .wanted = wanted});
  ++additions_;
  return 0;
}

int InterestList::change(const Key& key, const Event& wanted) {
  if ((wanted.events & exclusive) != 0) {
    return EINVAL;
  }
  Interest* const found = find(key);
  if (found == nullptr) {
    return ENOENT;
  }
  if ((found->wanted.events & exclusive) != 0) {
    return EINVAL;
  }
  found->wanted = wanted;
  found->is_fresh = true;
  found->is_over = false;
  ++additions_;
  return 0;
}

int InterestList::remove(const Key& key) {
  const Interest* const found = find(key);
  if (found == nullptr) {
    return ENOENT;
  }
  interests_.erase(interests_.begin() + (found - interests_.data()));
  return 0;
}

// ---- what is ready -----------------------------------------------------------------------------

// What has come is not marked as seen before there is something to tell of it: a stream of the
// host's says only that more may come.
std::uint32_t InterestList::look(const Interest& interest, File& file) {
  const Readiness wanted = readiness_of(interest.wanted.events);
  if ((interest.wanted.events & edge) != 0 && !interest.is_fresh &&
      file.arrivals(wanted) == interest.seen) {
    return 0;
  }
  return events_of(file.ready_for(wanted).value_or(abi::file_hung_up), interest.wanted.events);
}

std::vector<InterestList::Event> InterestList::take(std::size_t most) {
  forget_closed();
  std::vector<Event> events;
  const std::size_t count = interests_.size();
  const std::size_t start = count == 0 ? 0 : first_ % count;
  for (std::size_t step = 0; step < count && events.size() < most; ++step) {
    Interest& interest = interests_[(start + step) % count];
    const std::shared_ptr<OpenFile> open = interest.file.lock();
    const std::uint32_t is = open && !interest.is_over ? look(interest, *open->file) : 0;
    if (is == 0) {
      continue;
    }
    interest.seen = open->file->arrivals(readiness_of(interest.wanted.events));
    interest.is_fresh = false;
    interest.is_over = (interest.wanted.events & once) != 0;
    events.push_back({.events = is, .data = interest.wanted.data});
    first_ = events.size() == most ? start + step + 1 : 0;
  }
  return events;
}

// ---- as a file ---------------------------------------------------------------------------------

Or<Readiness> InterestList::ready_for(Readiness wanted) {
  bool is_ready = false;
  if ((wanted & abi::file_readable) != 0) {
    visit([&is_ready](const Interest& interest, File& file) {
      is_ready = is_ready || look(interest, file) != 0;
    });
  }
  return is_ready ? abi::file_readable : Readiness{0};
}

bool InterestList::may_become_ready() const {
  bool may = false;
  visit([&may](const Interest&, const File& file) { may = may || file.may_become_ready(); });
  return may;
}

int InterestList::watch(Readiness /*wanted*/) {
  int first = 0;
  visit([&first](const Interest& interest, File& file) {
    const int error =
        file.may_become_ready() ? file.watch(readiness_of(interest.wanted.events)) : 0;
    first = first != 0 ? first : error;
  });
  return first;
}

std::uint64_t InterestList::arrivals(Readiness /*wanted*/) {
  std::uint64_t all = additions_;
  visit([&all](const Interest& interest, File& file) {
    all += file.arrivals(readiness_of(interest.wanted.events));
  });
  return all;
}

std::uint64_t InterestList::ready_at_ns() {
  std::uint64_t first = wait_for_ever;
  visit([&first](const Interest&, File& file) { first = std::min(first, file.ready_at_ns()); });
  return first;
}

} // namespace guest::linux
