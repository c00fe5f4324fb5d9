// SPDX-License-Identifier: MIT
// Hypercall traces: what a vmm started with --trace writes and build/hvtrace reads. Little endian:
// a header of TraceHeader::header_bytes, then fixed-size records. The header describes itself: it
// names every event and says what each field of its records means, so that a reader of another
// version can still print a trace.
//
// A record is written in place into a mapped file, its sequence last, so that whatever a killed
// writer left is readable: slot i holds a whole record exactly if its sequence is one that belongs
// there (i + 1; in a ring i + 1 plus a multiple of the capacity). Records are in the order in which
// their writers claimed slots. A guest's events come through its event ring
// (shared/event_ring.hpp) and have their own, earlier times; they always stand before the host's
// record of what followed from them (a submission before its batch), and an answer before the
// guest's drain of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "shared/boot_info.hpp"

namespace abi {

inline constexpr std::uint64_t trace_magic = 0x4543415254424245; // "EBBTRACE"
inline constexpr std::uint16_t trace_version_major = 1;          // another major: another layout
inline constexpr std::uint16_t trace_version_minor = 3;          // a higher minor only adds

enum class TraceLevel : std::uint32_t {
  off = 0,
  batches = 1, // boot, doorbells, batches, discards, answers, drains, memory samples
  ranges = 2,  // also every range, every outcome, every allocation of reported memory
  all = 3,     // also every block that enters or leaves the guest's buddy, refaults, hypercalls
};

enum class TraceEvent : std::uint8_t {
  none = 0, // a slot that was never written
  // By the host.
  boot = 1,
  negotiated = 2,
  doorbell = 3,
  batch = 4,
  range = 5,
  discard_begin = 6,
  discard_end = 7,
  outcome = 8,
  answer = 9,
  answer_dropped = 10,
  mode = 11,
  fault = 12,
  resident = 13,
  free_memory = 14,
  held_memory = 15,
  refault = 16,
  guest_lost = 17,
  workload_begin = 18,
  workload_end = 19,
  end = 20,
  hypercall = 21, // since 1.1
  continued = 22, // since 1.3
  // By the guest.
  submit = 32,
  drain = 33,
  allocate = 34,
  free = 35,
  unused = 36,
  quarantine = 37,
};

constexpr bool is_guest_event(TraceEvent event) {
  return event >= TraceEvent::submit && event <= TraceEvent::quarantine;
}

// TraceEvent::range and outcome: detail. Kind in the low nibble, Outcome in the high one.
constexpr std::uint8_t trace_detail(std::uint8_t kind, std::uint8_t outcome) {
  return static_cast<std::uint8_t>(kind | (outcome << 4));
}

// TraceEvent::fault: detail. What an adversarial host does to a batch.
enum class TraceFault : std::uint8_t {
  delay = 1,     // answered late
  drop = 2,      // never answered
  stall = 3,     // the same, as are all after it
  decline = 4,   // declined whole
  fail = 5,      // answered as failed
  partial = 6,   // some ranges declined
  reorder = 7,   // the answer waits for the next one
  duplicate = 8, // answered twice
};

// TraceEvent::mode: detail.
enum class TraceMode : std::uint8_t {
  host_sync = 0, // who answers; value: number of workers
  host_async = 1,
  host_poll = 2,
  // Since 1.1: a new policy for the running guest, whose reporting is off or on from now on. order,
  // count and address: report order, batch and keep-warm reserve; value: the delay in ns.
  reporting_off = 3,
  reporting_on = 4,
};

// TraceEvent::end: detail. How the run ended.
enum class TraceEnd : std::uint8_t {
  exited = 0,
  panicked = 1,
  crashed = 2,
  interrupted = 3,
  host_failed = 4,
  // Since 1.3: the guest went on, and what came next is in another trace, or in none.
  rotated = 5,
  stopped = 6,
};

// TraceEvent::continued: detail. Such a record is the first of a trace that does not begin with the
// run: batches may be in flight that it knows nothing of. What follows tells once more what still
// holds: who answers, what was negotiated.
enum class TraceOrigin : std::uint8_t {
  started = 1, // nothing was recorded just before
  // Nothing is missing between the trace before, whose last record is an end of TraceEnd::rotated,
  // and this one.
  rotated = 2,
};

// TraceEvent::discard_begin and discard_end: detail. How memory was given back.
enum class TraceMethod : std::uint8_t {
  dontneed = 0,
  free_lazily = 1,
  none = 2,
};

struct TraceRecord {
  std::uint64_t sequence = 0; // 1 for the first record of the run; written last
  std::uint64_t time_ns = 0;  // since TraceHeader::start_ns
  std::uint64_t address = 0;
  std::uint64_t value = 0;
  std::uint32_t count = 0;
  TraceEvent event = TraceEvent::none;
  std::uint8_t channel = 0; // report channel = vCPU that it belongs to
  std::uint8_t order = 0;
  std::uint8_t detail = 0;
};
static_assert(sizeof(TraceRecord) == 40);
static_assert(offsetof(TraceRecord, time_ns) == 8);
static_assert(offsetof(TraceRecord, address) == 16);
static_assert(offsetof(TraceRecord, value) == 24);
static_assert(offsetof(TraceRecord, count) == 32);
static_assert(offsetof(TraceRecord, event) == 36);
static_assert(offsetof(TraceRecord, channel) == 37);
static_assert(offsetof(TraceRecord, order) == 38);
static_assert(offsetof(TraceRecord, detail) == 39);

// Name of an event and of its fields; an empty name: the field is 0. NUL padded.
struct TraceEventInfo {
  TraceEvent event = TraceEvent::none;
  std::uint8_t reserved[7] = {};
  char name[24] = {};
  char address[16] = {};
  char value[16] = {};
  char count[16] = {};
  char order[8] = {};
  char detail[16] = {};
};
static_assert(sizeof(TraceEventInfo) == 104);
static_assert(offsetof(TraceEventInfo, name) == 8);
static_assert(offsetof(TraceEventInfo, detail) == 88);

inline constexpr std::uint32_t trace_event_slots = 64;

enum class TraceStorage : std::uint32_t {
  file = 0, // grows; the record of sequence s is in slot s - 1
  ring = 1, // the last capacity records; slot (s - 1) % capacity
};

struct TraceHeader {
  std::uint64_t magic = trace_magic;
  std::uint16_t version_major = trace_version_major;
  std::uint16_t version_minor = trace_version_minor;
  std::uint32_t header_bytes = 0;
  std::uint32_t record_bytes = sizeof(TraceRecord);
  std::uint32_t event_count = 0;       // used entries of events
  std::uint64_t start_ns = 0;          // monotonic clock of the host at time_ns 0
  std::uint64_t start_realtime_ns = 0; // wall clock at that moment
  std::uint64_t start_tsc = 0;         // the host's time stamp counter at that moment
  std::uint32_t tsc_khz = 0;
  TraceLevel level = TraceLevel::off;
  TraceStorage storage = TraceStorage::file;
  std::uint32_t vcpus = 0;
  std::uint64_t capacity = 0;  // records, of a ring; 0 for a file
  std::uint64_t ram_bytes = 0; // end of RAM, with what is not RAM below it
  ReportPolicy policy;
  std::uint64_t image_hash = 0; // FNV-1a, 64 bit, of the image as loaded
  char backing[16] = {};        // as on the command line, NUL padded
  char discard[16] = {};
  char host[32] = {};   // how the host answers, such as "sync"
  char image[512] = {}; // path, NUL padded
  // Since 1.2: the host's CLOCK_BOOTTIME at time_ns 0; 0 in older traces.
  std::uint64_t start_boottime_ns = 0;
  // Changed while recording; claimed on a cache line of its own.
  std::uint64_t claimed = 0; // slots handed to writers so far
  std::uint64_t reserved2[7] = {};
  std::uint64_t lost = 0;     // records for which there was no room on the disk
  std::uint64_t finished = 0; // 1: closed in order; nothing is missing at the end
  std::uint64_t reserved3[6] = {};
  TraceEventInfo events[trace_event_slots];
};
static_assert(offsetof(TraceHeader, header_bytes) == 12);
static_assert(offsetof(TraceHeader, start_ns) == 24);
static_assert(offsetof(TraceHeader, tsc_khz) == 48);
static_assert(offsetof(TraceHeader, capacity) == 64);
static_assert(offsetof(TraceHeader, policy) == 80);
static_assert(offsetof(TraceHeader, image) == 184);
static_assert(offsetof(TraceHeader, start_boottime_ns) == 696);
static_assert(offsetof(TraceHeader, claimed) == 704);
static_assert(offsetof(TraceHeader, lost) == 768);
static_assert(offsetof(TraceHeader, events) == 832);

// Records start here in traces of this version: page aligned.
inline constexpr std::uint32_t trace_header_bytes = 8192;
static_assert(sizeof(TraceHeader) <= trace_header_bytes);

struct TraceEventText {
  TraceEvent event;
  const char* name;
  const char* address;
  const char* value;
  const char* count;
  const char* order;
  const char* detail;
};

// What TraceHeader::events is filled from. "gpa", "code" and "bytes" say how to print a field;
// "batch" is a batch id, unique with its channel.
inline constexpr std::array<TraceEventText, 28> trace_event_texts{{
    {TraceEvent::boot, "boot", "", "ram bytes", "vcpus", "", ""},
    {TraceEvent::negotiated, "negotiated", "managed gpa", "features", "", "", ""},
    {TraceEvent::doorbell, "doorbell", "", "", "", "vcpu", ""},
    {TraceEvent::batch, "batch", "", "batch", "ranges", "", "acceptable"},
    {TraceEvent::range, "range", "gpa", "batch", "index", "order", "kind"},
    {TraceEvent::discard_begin, "discard_begin", "bytes", "batch", "runs", "lane", "method"},
    {TraceEvent::discard_end, "discard_end", "bytes", "batch", "calls", "lane", "method"},
    {TraceEvent::outcome, "outcome", "gpa", "batch", "index", "order", "outcome"},
    {TraceEvent::answer, "answer", "host ns", "batch", "ranges", "lane", ""},
    {TraceEvent::answer_dropped, "answer_dropped", "", "batch", "", "", ""},
    {TraceEvent::mode, "mode", "keep bytes", "value", "batch", "order", "mode"},
    {TraceEvent::fault, "fault", "", "batch", "", "", "fault"},
    {TraceEvent::resident, "resident", "resident bytes", "live bytes", "", "", ""},
    {TraceEvent::free_memory, "free_memory", "fresh bytes", "reported bytes", "", "", ""},
    {TraceEvent::held_memory, "held_memory", "isolated bytes", "cached bytes", "", "", ""},
    {TraceEvent::refault, "refault", "gpa", "bytes", "", "", ""},
    {TraceEvent::guest_lost, "guest_lost", "", "events", "", "", ""},
    {TraceEvent::workload_begin, "workload_begin", "", "", "", "", ""},
    {TraceEvent::workload_end, "workload_end", "", "", "", "", ""},
    {TraceEvent::end, "end", "", "status", "", "", "end kind"},
    {TraceEvent::hypercall, "hypercall", "argument", "call", "", "vcpu", ""},
    {TraceEvent::continued, "continued", "", "records before", "part", "", "origin"},
    {TraceEvent::submit, "submit", "code", "batch", "ranges", "", ""},
    {TraceEvent::drain, "drain", "", "batch", "ranges", "", ""},
    {TraceEvent::allocate, "allocate", "gpa", "code", "answered", "order", ""},
    {TraceEvent::free, "free", "gpa", "code", "", "order", ""},
    {TraceEvent::unused, "unused", "gpa", "code", "", "order", ""},
    {TraceEvent::quarantine, "quarantine", "", "batch", "", "", ""},
}};
static_assert(trace_event_texts.size() <= trace_event_slots);

} // namespace abi
