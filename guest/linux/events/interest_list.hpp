// SPDX-License-Identifier: MIT
// Other open files, and what of them somebody waits for: epoll(7). A list keeps no file open; what
// is closed with its last descriptor vanishes from it. Looking costs time for every file in it.
// Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "guest/linux/events/nameless_file.hpp"
#include "guest/linux/files/open_files.hpp"

namespace guest::linux {

class InterestList final : public NamelessFile {
 public:
  struct Event {
    std::uint32_t events = 0; // EPOLL bits
    std::uint64_t data = 0;   // the program's
  };
  // An open file by the descriptor that it was added with.
  struct Key {
    std::uint64_t descriptor = 0;
    std::shared_ptr<OpenFile> file;
  };
  // So many lists may be in each other (EP_MAX_NESTS).
  static constexpr unsigned most_nested = 4;

  // Results are 0 or an error number. `own` is this list's open file. EEXIST; ELOOP, where lists
  // would be in each other in a circle or too deeply; EINVAL for EPOLLEXCLUSIVE with what does not
  // go with it.
  [[nodiscard]] int add(const std::shared_ptr<OpenFile>& own, const Key& key, const Event& wanted);
  // ENOENT; EINVAL of one that is exclusive.
  [[nodiscard]] int change(const Key& key, const Event& wanted);
  [[nodiscard]] int remove(const Key& key); // ENOENT

  // What is ready now, at most so many; others come first the next time. Edges are told once.
  [[nodiscard]] std::vector<Event> take(std::size_t most);

  [[nodiscard]] Or<Readiness> ready_for(Readiness wanted) override;
  [[nodiscard]] bool may_become_ready() const override;
  [[nodiscard]] int watch(Readiness wanted) override;
  [[nodiscard]] std::uint64_t arrivals(Readiness wanted) override;
  [[nodiscard]] std::uint64_t ready_at_ns() override;
  [[nodiscard]] InterestList* interests() override { return this; }

 private:
  struct Interest {
    std::uint64_t descriptor = 0;
    std::weak_ptr<OpenFile> file;
    Event wanted;
    std::uint64_t seen = 0; // arrivals when it was told last
    bool is_fresh = true;   // has not been told since it was wanted
    bool is_over = false;   // told once, and no more wanted (EPOLLONESHOT)
  };
  using Interests = std::vector<Interest>;

  [[nodiscard]] Interest* find(const Key& key); // null: it is not there
  // The events that there are to be told; 0: none.
  [[nodiscard]] static std::uint32_t look(const Interest& interest, File& file);
  // How deep lists are in it, and it in others; more than most_nested: too deep, or a circle.
  [[nodiscard]] unsigned depth_below(const InterestList& unwanted, unsigned at) const;
  [[nodiscard]] unsigned depth_above(unsigned at) const;
  void forget_closed();
  // Of those that are still open and wanted.
  template <typename Visit> void visit(Visit visit) const;

  Interests interests_;
  std::size_t first_ = 0; // to be looked at next
  std::uint64_t additions_ = 0;
  std::vector<std::weak_ptr<OpenFile>> holders_; // lists that it has been added to
};

} // namespace guest::linux
