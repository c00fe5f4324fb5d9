// SPDX-License-Identifier: MIT
// The host's end of one report channel.
//
// A batch's way is take() - BatchProcessor::process() - answer(). take() and answer() touch the
// channel in guest memory and nothing else does; process() may happen on another thread and may
// take its time.
//
// Nothing in the channel is believed: indices are compared with the host's own copies, entries are
// copied once, and the fields that the host writes are never read back.
#pragma once

#include <cstdint>

#include "shared/report_channel.hpp"
#include "vmm/base/counter.hpp"
#include "vmm/hints/batch.hpp"
#include "vmm/hints/hint_observer.hpp"

namespace vmm {

// Each written by one thread (that of take() or that of answer()), readable by any.
struct ChannelCounters {
  Counter batches_taken;
  Counter batches_answered;
  Counter bad_submissions; // page or range_count out of range: answered as failed
  Counter ring_overruns;   // submit_tail beyond what the ring holds: everything pending skipped
  Counter dropped_answers; // no room, though the guest cannot have that many batches in flight
};

enum class AnswerResult : std::uint8_t {
  written,
  dropped, // no room in the completion ring: the guest broke the protocol, the batch stays
           // without an answer
};

enum class DoorbellUse : std::uint8_t {
  ring,    // the guest rings after each submission
  silence, // the host watches submit_tail
};

// How far a channel has come, modulo 2^32.
struct ChannelProgress {
  std::uint32_t submit_head = 0;   // batches taken
  std::uint32_t complete_tail = 0; // answers written
};

// take() is for one thread at a time, answer() for one thread at a time; the two may differ.
class ChannelServer {
 public:
  // `channel` lies in guest memory and outlives the server. A fresh one is zeroed; to go on with
  // a used one, `progress` says where, from the host's own records.
  explicit ChannelServer(abi::Channel& channel, ChannelProgress progress = {})
      : channel_(&channel), submit_head_(progress.submit_head),
        complete_tail_(progress.complete_tail) {}

  // Null: nobody watches. `channel` is this channel's number; the observer outlives the server.
  void set_observer(HintObserver* observer, std::uint32_t channel) {
    observer_ = observer;
    number_ = channel;
  }

  // Moves the oldest submitted batch into `batch`, answer not yet set. False if there is none. A
  // submit_tail that is further ahead than the ring is long means the slots cannot be trusted:
  // all of them are skipped and stay unanswered. Bounded work.
  bool take(Batch& batch);

  // Writes the answer of a processed batch to the completion ring and publishes it. Batches may
  // be answered in any order.
  AnswerResult answer(const Batch& batch);

  // Writes an answer that has been written before once more, as a misbehaving host does, unless
  // that could take the room of an answer that is still to come. Returns whether it did.
  bool repeat_answer(const abi::CompletionEntry& answer);

  // Whether the guest asks for an interrupt; after answer(), by the same thread.
  [[nodiscard]] bool interrupt_wanted() const;

  // Tells the guest whether to ring. After asking it to ring again, look once more with
  // has_submissions(): the guest may have submitted without ringing just before.
  void set_doorbell(DoorbellUse use);
  // Whether take() would find something to do; by the thread that takes.
  [[nodiscard]] bool has_submissions() const;

  [[nodiscard]] const ChannelCounters& counters() const { return counters_; }

 private:
  // Answers that the guest has yet to consume; huge if it claims to have consumed too many.
  [[nodiscard]] std::uint32_t unconsumed_answers() const;
  void publish(const abi::CompletionEntry& answer);

  abi::Channel* channel_;
  std::uint32_t submit_head_;   // of the taking thread
  std::uint32_t complete_tail_; // of the answering thread
  ChannelCounters counters_;
  HintObserver* observer_ = nullptr;
  std::uint32_t number_ = 0;
};

} // namespace vmm
