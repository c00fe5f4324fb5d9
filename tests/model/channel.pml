// SPDX-License-Identifier: MIT
// Ebb's report channel as a model for spin: submission and completion rings, isolation, drain at
// safe points, suppression of doorbells and of interrupts. README.md says what stands for what.
//
// Size:      VCPUS, WORKERS, ENTRIES (ring_entries), BLOCKS, OPS (frees in a run; 0: no limit)
// Variants:  SYNC (the doorbell answers), TSO (plain stores wait in a store buffer), DUPLICATES=N,
//            DROPS=N (faulty host), TIMER (a vCPU may wake by itself), RELEASED (the LTL claim)
// Mutations: M_..., each of which breaks the model in one place.

#ifndef VCPUS
#define VCPUS 2
#endif
#ifndef WORKERS
#define WORKERS 1
#endif
#ifndef ENTRIES
#define ENTRIES 2
#endif
#ifndef BLOCKS
#define BLOCKS 3
#endif
#ifndef OPS
#define OPS 3
#endif
#ifndef DUPLICATES
#define DUPLICATES 0
#endif
#ifndef DROPS
#define DROPS 0
#endif

// Steps that a lock protects, or that only one side can see, belong together: a step holds at most
// one access on which a handshake depends. FINE takes them apart, every access on its own.
#ifdef FINE
#define together
#else
#define together atomic
#endif

#define COMPLETIONS (2 * ENTRIES)
// Stands for 2^32: a multiple of both rings, and more than any distance between two indices.
#define INDEX_MOD (4 * ENTRIES)
// One before the wrap, so that the first submission already wraps.
#define INDEX_START (INDEX_MOD - 1)
#define DISTANCE(ahead, behind) (((ahead) + INDEX_MOD - (behind)) % INDEX_MOD)
#define NEXT(index) (((index) + 1) % INDEX_MOD)
// Reporter's next_batch_id, from 1. It runs along with submit_tail, so it need not be a variable of
// its own; no two batches with the same id are ever underway together.
#define BATCH_ID(index) ((index) + 1)

// ---- shared memory -----------------------------------------------------------------------------

// The words of ChannelRings that both sides use, one of each a channel.
#define SUBMIT_TAIL 0
#define COMPLETE_HEAD 1
#define WANT_INTERRUPT 2
#define SUBMIT_HEAD 3
#define COMPLETE_TAIL 4
#define NO_DOORBELL 5
#define WORD(name, channel) word[(name) * VCPUS + (channel)]
byte word[6 * VCPUS];

byte slot_id[VCPUS * ENTRIES];   // SubmissionEntry::batch_id
byte slot_page[VCPUS * ENTRIES]; // SubmissionEntry::page
byte descriptor[VCPUS * ENTRIES]; // the one range of a descriptor page: a block
byte answer_id[VCPUS * COMPLETIONS];
byte answer_page[VCPUS * COMPLETIONS];
#define SLOT(channel, index) ((channel) * ENTRIES + (index) % ENTRIES)
#define ANSWER(channel, index) ((channel) * COMPLETIONS + (index) % COMPLETIONS)
#define PAGE(channel, page) ((channel) * ENTRIES + (page))

// A store that is not seq_cst may be seen late by others, as on x86: a store buffer of one entry a
// process. Processes 0...VCPUS-1 are vCPUs, the workers follow. Taking and releasing a lock, the
// doorbell and a later store of the same process empty it.
#if defined(TSO) || defined(M_PLAIN_SUBMIT) || defined(M_PLAIN_SET_DOORBELL) || \
    defined(M_PLAIN_ANSWER) || defined(M_PLAIN_ARM)
#define STORE_BUFFERS
#endif
#ifdef STORE_BUFFERS
#define EMPTY 255
byte buffered_word[VCPUS + WORKERS] = EMPTY;
byte buffered_value[VCPUS + WORKERS];
inline flush(process) {
  if
  :: buffered_word[process] != EMPTY ->
    word[buffered_word[process]] = buffered_value[process];
    buffered_word[process] = EMPTY;
    buffered_value[process] = 0
  :: else
  fi
}
inline plain_store(process, name, channel, value) {
  flush(process);
  buffered_word[process] = (name) * VCPUS + (channel);
  buffered_value[process] = value
}
#else
#define flush(process) skip
#define plain_store(process, name, channel, value) WORD(name, channel) = value
#endif
inline seq_cst_store(process, name, channel, value) {
  flush(process);
  WORD(name, channel) = value
}
// The four stores of the two handshakes.
#ifdef M_PLAIN_SUBMIT
#define store_submit_tail plain_store
#else
#define store_submit_tail seq_cst_store
#endif
#ifdef M_PLAIN_SET_DOORBELL
#define store_no_doorbell plain_store
#else
#define store_no_doorbell seq_cst_store
#endif
#ifdef M_PLAIN_ANSWER
#define store_complete_tail plain_store
#else
#define store_complete_tail seq_cst_store
#endif
#ifdef M_PLAIN_ARM
#define store_want_interrupt plain_store
#else
#define store_want_interrupt seq_cst_store
#endif

// ---- events ------------------------------------------------------------------------------------

bool doorbell;         // the eventfd: stays set until a sleeping worker takes it
bool interrupt[VCPUS]; // pending in the local APIC, or noted by the handler: stays set
bool halted[VCPUS];    // only M_INTERRUPT_NOT_LATCHED looks
bool exited[VCPUS];    // SYNC: the vCPU is out of the guest until its doorbell has been served

// ---- the guest's own state, under the allocator's lock ---------------------------------------

#define allocated 0
#define fresh 1
#define isolated 2
#define reported 3
byte block[BLOCKS];

byte submit_tail[VCPUS];   // Reporter::ChannelState
byte complete_head[VCPUS];
byte in_flight[VCPUS * ENTRIES]; // batch id by descriptor page; 0: the page is free

byte ops = OPS;

// ---- the host's own state ----------------------------------------------------------------------

byte submit_head[VCPUS];
byte complete_tail[VCPUS];
bool take_lock[VCPUS];   // "for one thread at a time" (ChannelServer)
bool answer_lock[VCPUS];
byte duplicates = DUPLICATES;
byte drops = DROPS;

// ---- what must hold ----------------------------------------------------------------------------

// Written just before they are asserted, so that the name tells what went wrong.
bool with_host[BLOCKS]; // submitted and not answered
bool quarantined[BLOCKS];
bool handed_out_in_flight;
bool discarded_in_use;
bool submitted_twice;
bool ring_overrun;
bool honest_answer_dropped;
bool answer_to_nothing;
bool host_sleeps_on_submissions;
bool guest_sleeps_on_answers;
bool batch_never_released;
bool fresh_never_reported;

#if BLOCKS == 1
#define SOME_FREE (block[0] != allocated)
#elif BLOCKS == 2
#define SOME_FREE (block[0] != allocated || block[1] != allocated)
#else
#define SOME_FREE (block[0] != allocated || block[1] != allocated || block[2] != allocated)
#endif

// The lowest block in a state, or BLOCKS.
inline find(b, wanted) {
  b = 0;
  do
  :: b < BLOCKS && block[b] != wanted -> b++
  :: else -> break
  od
}

// ---- guest/mm/ticket_lock.hpp ----------------------------------------------------------------

// Not its fairness: a lock that somebody waits for is taken by anybody.
bool locked;
inline lock() { atomic { !locked -> locked = true; flush(v) } }
inline unlock() { atomic { flush(v); locked = false } }

// ---- guest/mm/reporting/reporter.cpp -------------------------------------------------------------------

// Reporter::accept of the entry at complete_head.
inline accept(channel) {
  d_step {
    id = answer_id[ANSWER(channel, complete_head[channel])];
    page = answer_page[ANSWER(channel, complete_head[channel])];
    if
#ifdef M_ACCEPT_DUPLICATE
    :: in_flight[PAGE(channel, page)] != 0 ->
#else
    :: in_flight[PAGE(channel, page)] != 0 && in_flight[PAGE(channel, page)] == id ->
#endif
      block[descriptor[PAGE(channel, page)]] = reported; // Buddy::acknowledge
      descriptor[PAGE(channel, page)] = 0;
      in_flight[PAGE(channel, page)] = 0
    :: else ->
#if DUPLICATES == 0
      answer_to_nothing = true;
      assert(!answer_to_nothing)
#else
      skip
#endif
    fi;
    // Forgotten by the model, to have fewer states: nobody reads an entry twice.
    answer_id[ANSWER(channel, complete_head[channel])] = 0;
    answer_page[ANSWER(channel, complete_head[channel])] = 0;
    complete_head[channel] = NEXT(complete_head[channel]);
    id = 0;
    page = 0
  }
}

inline drain_locked(channel) {
  together {
    tail = WORD(COMPLETE_TAIL, channel);
    if
    :: tail == complete_head[channel]
    :: else ->
      do
      :: complete_head[channel] != tail -> accept(channel)
      :: else -> break
      od;
      atomic { plain_store(v, COMPLETE_HEAD, channel, complete_head[channel]) } // release
    fi;
    tail = 0
  }
}

inline drain_all_locked() {
  c = 0;
  do
  :: c < VCPUS ->
    drain_locked(c);
    c++
  :: else -> c = 0; break
  od
}

// Reporter::submit_locked up to the store of submit_tail. `b` is BLOCKS when nothing was submitted.
inline submit_locked() {
  d_step {
    find(b, fresh);
    page = 0;
    do
    :: page < ENTRIES && in_flight[PAGE(v, page)] != 0 -> page++
    :: else -> break
    od;
    // has_room
    if
    :: page == ENTRIES || DISTANCE(submit_tail[v], WORD(SUBMIT_HEAD, v)) >= ENTRIES ->
      b = BLOCKS;
      page = 0
    :: else
    fi
  }
  if
  :: b == BLOCKS
  :: else ->
    d_step {
#if defined(M_PUT_BACK_ON_SUBMIT)
      block[b] = reported;
#elif !defined(M_SUBMIT_BEFORE_ISOLATE)
      block[b] = isolated;
#endif
      submitted_twice = with_host[b];
      assert(!submitted_twice);
      with_host[b] = true;
      in_flight[PAGE(v, page)] = BATCH_ID(submit_tail[v]);
      descriptor[PAGE(v, page)] = b;
      slot_id[SLOT(v, submit_tail[v])] = BATCH_ID(submit_tail[v]);
      slot_page[SLOT(v, submit_tail[v])] = page;
      submit_tail[v] = NEXT(submit_tail[v]);
      page = 0;
      store_submit_tail(v, SUBMIT_TAIL, v, submit_tail[v])
    }
  fi
}

// ---- guest/mm/page_allocator.cpp, page_allocator_idle.cpp ------------------------------------

inline ring_doorbell() {
#ifdef SYNC
  exited[v] = true;
  !exited[v]
#else
  doorbell = true
#endif
}

// PageAllocator::report_locked when everything fresh is due, and the unlock after it.
inline report_and_unlock() {
  do
  :: true ->
    together {
      submit_locked();
      if
      :: b == BLOCKS -> unlock(); break
      :: else
      fi
    }
    atomic {
      watched = WORD(NO_DOORBELL, v);
      if :: watched :: else -> unlock() fi
    }
    if
    :: watched
    :: else -> ring_doorbell(); lock()
    fi;
#ifdef M_SUBMIT_BEFORE_ISOLATE
    block[b] = isolated;
#endif
    together {
      watched = false;
      b = 0;
      drain_locked(v)
    }
  od;
  b = 0
}

// free(), of a block that bypasses the cache: after_free_locked drains, then reports if due.
inline free() {
  together {
    lock();
    d_step {
      find(b, allocated);
      if :: b < BLOCKS -> block[b] = fresh :: else fi;
      b = 0
    }
    drain_locked(v)
  }
  if
  :: report_and_unlock() // a full batch
  :: unlock()            // not yet due
  fi
}

inline hand_out(wanted) {
  d_step {
    find(b, wanted);
    if
    :: b < BLOCKS ->
      handed_out_in_flight = with_host[b];
      assert(!handed_out_in_flight);
      block[b] = allocated
    :: else
    fi;
    b = 0
  }
}

// allocate(): allocate_and_refill, which drains its own channel, or one turn of
// allocate_under_pressure, which drains all.
inline allocate() {
  together {
    lock();
    if
    :: drain_locked(v)
#if VCPUS > 1
    :: drain_all_locked()
#endif
    fi;
    if
    :: hand_out(fresh)
    :: hand_out(reported)
    fi;
    unlock()
  }
}

// idle(), then arm_interrupt(), halt and disarm_interrupt().
inline idle_and_halt() {
  together {
    lock();
    drain_all_locked()
  }
  report_and_unlock();
  // arm_interrupt
  together {
    lock();
    atomic { store_want_interrupt(v, WANT_INTERRUPT, v, 1) }
  }
  together {
#ifdef M_NO_SECOND_LOOK_GUEST
    watched = false;
#else
    watched = WORD(COMPLETE_TAIL, v) != complete_head[v];
#endif
    if
    :: watched -> atomic { plain_store(v, WANT_INTERRUPT, v, 0) }
    :: else
    fi;
    unlock()
  }
  if
  :: watched -> watched = false
  :: else ->
    halted[v] = true;
end_halted:
    if
    :: atomic { interrupt[v] -> interrupt[v] = false; halted[v] = false }
#if defined(TIMER) && OPS
    :: atomic { ops > 0 -> halted[v] = false }
#endif
    fi;
    together {
      lock();
      atomic { plain_store(v, WANT_INTERRUPT, v, 0) }
      unlock()
    }
  fi
}

proctype vcpu(byte v) {
  byte b, c, id, page, tail;
  bool watched;
  do
#if OPS
  :: atomic { ops > 0 -> ops-- } free()
#else
  :: free()
#endif
#if OPS && defined(RELEASED)
  // Whoever allocates for ever may keep the others from the lock, which is not fair here.
  :: atomic { ops > 0 && SOME_FREE -> ops-- } allocate()
#else
  :: SOME_FREE -> allocate()
#endif
  :: idle_and_halt()
  od
}

// ---- vmm/hints/channel_server.cpp, and the loop of a worker ----------------------------------------

#if WORKERS > 1 && !defined(M_TAKE_UNLOCKED)
#define TAKE_LOCK(c) !take_lock[c]
#define SET_TAKE_LOCK(c, to) take_lock[c] = to
#else
#define TAKE_LOCK(c) true
#define SET_TAKE_LOCK(c, to) skip
#endif
#if WORKERS > 1 && !defined(M_ANSWER_UNLOCKED)
#define ANSWER_LOCK(c) !answer_lock[c]
#define SET_ANSWER_LOCK(c, to) answer_lock[c] = to
#else
#define ANSWER_LOCK(c) true
#define SET_ANSWER_LOCK(c, to) skip
#endif

// A single worker needs no lock, so nothing hurries its stores along.
#if WORKERS > 1
#define flush_at_lock(w) flush(w)
#else
#define flush_at_lock(w) skip
#endif

#ifdef M_NO_WRAP
#define PENDING(c) (WORD(SUBMIT_TAIL, c) > submit_head[c])
#else
#define PENDING(c) (WORD(SUBMIT_TAIL, c) != submit_head[c])
#endif

// ChannelServer::take; `id` is 0 when there was nothing.
inline take() {
  together {
    atomic {
      TAKE_LOCK(c);
      flush_at_lock(w);
      if
      :: PENDING(c) ->
        ring_overrun = DISTANCE(WORD(SUBMIT_TAIL, c), submit_head[c]) > ENTRIES;
        assert(!ring_overrun);
        SET_TAKE_LOCK(c, true);
        id = 1
      :: else
      fi
    }
    if
    :: id == 0
    :: else ->
      d_step {
        id = slot_id[SLOT(c, submit_head[c])];
        page = slot_page[SLOT(c, submit_head[c])];
        b = descriptor[PAGE(c, page)]
      }
      d_step {
#ifndef M_TAKE_UNLOCKED
        slot_id[SLOT(c, submit_head[c])] = 0; // forgotten, as in accept()
        slot_page[SLOT(c, submit_head[c])] = 0;
#endif
        submit_head[c] = NEXT(submit_head[c]);
        plain_store(w, SUBMIT_HEAD, c, submit_head[c]); // release
        flush_at_lock(w);
        SET_TAKE_LOCK(c, false)
      }
    fi
  }
}

// BatchProcessor::process: from here on the block's contents are gone.
inline discard() {
  d_step {
    discarded_in_use = block[b] != isolated;
    assert(!discarded_in_use)
  }
}

inline write_answer(index) {
  d_step {
    answer_id[ANSWER(c, index)] = id;
    answer_page[ANSWER(c, index)] = page
  }
}

inline publish_answer(is_first) {
  d_step {
    with_host[b] = with_host[b] && !is_first;
    complete_tail[c] = NEXT(complete_tail[c]);
    store_complete_tail(w, COMPLETE_TAIL, c, complete_tail[c])
  }
}

// ChannelServer::answer and interrupt_wanted, then the interrupt.
inline answer(is_first) {
  together {
    atomic {
      ANSWER_LOCK(c);
      SET_ANSWER_LOCK(c, true);
      flush_at_lock(w);
      no_room = DISTANCE(complete_tail[c], WORD(COMPLETE_HEAD, c)) >= COMPLETIONS;
      honest_answer_dropped = no_room && is_first;
      assert(!honest_answer_dropped)
    }
    if
    :: no_room
    :: else ->
#ifdef M_PUBLISH_BEFORE_ENTRY
      publish_answer(is_first);
      write_answer((complete_tail[c] + INDEX_MOD - 1) % INDEX_MOD)
#else
      write_answer(complete_tail[c]);
      publish_answer(is_first)
#endif
    fi
  }
  together {
    wanted = WORD(WANT_INTERRUPT, c) && !no_room;
    no_room = false;
    atomic {
      flush_at_lock(w);
      SET_ANSWER_LOCK(c, false)
    }
  }
  if
  :: wanted ->
    d_step {
#ifdef M_INTERRUPT_NOT_LATCHED
      interrupt[c] = halted[c];
#else
      interrupt[c] = true;
#endif
      wanted = false
    }
  :: else
  fi
}

// ChannelServer::set_doorbell on all channels; 1: silence, 0: ring.
inline set_doorbell(use) {
  together {
    do
    :: c < VCPUS -> atomic { store_no_doorbell(w, NO_DOORBELL, c, use); c++ }
    :: else -> c = 0; break
    od
  }
}

// Takes, discards and answers all that is submitted on channel `c`.
inline serve() {
  do
  :: true ->
    take();
    if
    :: id == 0 -> break
    :: else
    fi;
#ifndef M_ANSWER_BEFORE_DISCARD
    discard();
#endif
    if
#if DROPS
    :: atomic { drops > 0 -> drops--; quarantined[b] = true }
#endif
    :: true ->
      answer(true);
#if DUPLICATES
      if
      :: atomic { duplicates > 0 -> duplicates-- } answer(false)
      :: true
      fi
#endif
    fi;
#ifdef M_ANSWER_BEFORE_DISCARD
    discard();
#endif
    d_step { id = 0; page = 0; b = 0 }
  od
}

proctype worker(byte w) {
  byte b, c, id, page;
  bool wanted, no_room;
#ifdef SYNC
end_waiting:
  do
  :: exited[0] -> c = 0; serve(); exited[0] = false
#if VCPUS > 1
  :: exited[1] -> c = 1; serve(); exited[1] = false; c = 0
#endif
  od
#else
end_asleep:
  atomic { doorbell -> doorbell = false }
awake:
  set_doorbell(1);
  do
  :: c < VCPUS -> serve(); c++
  :: else -> c = 0; break
  od;
  set_doorbell(0);
#ifndef M_NO_SECOND_LOOK_HOST
  do // has_submissions
  :: c < VCPUS ->
    if
    :: atomic { TAKE_LOCK(c) && PENDING(c) -> c = 0; goto awake }
    :: atomic { TAKE_LOCK(c) && !PENDING(c) -> c++ }
    fi
  :: else -> c = 0; break
  od;
#endif
  goto end_asleep
#endif
}

#ifdef STORE_BUFFERS
// A buffered store may become visible at any time, and does in the end.
proctype memory() {
  byte p;
end_memory:
  do
  :: atomic { buffered_word[0] != EMPTY -> flush(0) }
  :: atomic { buffered_word[1] != EMPTY -> flush(1) }
#if VCPUS + WORKERS > 2
  :: atomic { buffered_word[2] != EMPTY -> flush(2) }
#endif
#if VCPUS + WORKERS > 3
  :: atomic { buffered_word[3] != EMPTY -> flush(3) }
#endif
  od
}
#endif

// ---- when nothing can move any more ----------------------------------------------------------

init {
  byte i;
  atomic {
    for (i : 0 .. VCPUS - 1) {
      WORD(SUBMIT_TAIL, i) = INDEX_START;
      WORD(COMPLETE_HEAD, i) = INDEX_START;
      WORD(SUBMIT_HEAD, i) = INDEX_START;
      WORD(COMPLETE_TAIL, i) = INDEX_START;
      submit_tail[i] = INDEX_START;
      complete_head[i] = INDEX_START;
      submit_head[i] = INDEX_START;
      complete_tail[i] = INDEX_START;
      run vcpu(i);
    }
    for (i : 0 .. WORKERS - 1) {
      run worker(VCPUS + i);
    }
#ifdef STORE_BUFFERS
    run memory();
#endif
    i = 0
  }
#ifndef RELEASED
end_running:
  timeout ->
  // All vCPUs are halted and all workers asleep, or stuck: then spin calls the end state invalid.
  d_step {
    for (i : 0 .. VCPUS - 1) {
      host_sleeps_on_submissions = WORD(SUBMIT_TAIL, i) != submit_head[i];
      assert(!host_sleeps_on_submissions);
      guest_sleeps_on_answers = WORD(COMPLETE_TAIL, i) != complete_head[i];
      assert(!guest_sleeps_on_answers);
    }
    for (i : 0 .. BLOCKS - 1) {
      batch_never_released = (block[i] == isolated) != quarantined[i];
      assert(!batch_never_released);
#if DROPS == 0
      fresh_never_reported = block[i] == fresh;
      assert(!fresh_never_reported);
#endif
    }
  }
#endif
}

#ifdef RELEASED
// Every batch is released in the end.
ltl released { [] ((block[BLOCKS - 1] == isolated) -> <> (block[BLOCKS - 1] != isolated)) }
#endif
