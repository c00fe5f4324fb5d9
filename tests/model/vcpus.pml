// SPDX-License-Identifier: MIT
// How vCPUs call each other into the kernel, and stop each other, as a model for spin
// (guest/linux/threads/kernel_lock.hpp). README.md says what stands for what.
//
// Whoever has the kernel calls others, or stops them and changes the page tables. Every call must be
// looked at, though the program's code makes no calls of its own, and nobody runs it with page tables
// that are gone.
//
// Size:      VCPUS; OPS of calls and stops, all in all; FAULTS of the program's
// Mutations: M_..., each of which breaks the model in one place.

#ifndef VCPUS
#define VCPUS 2
#endif
#ifndef OPS
#define OPS 3
#endif
#ifndef FAULTS
#define FAULTS 1
#endif

#define NOBODY 255

// KernelLock::Place, but for `waits`: what the others see of it is `kernel`.
mtype = { kernel, program, rest, halt };

byte lock = NOBODY;
mtype place[VCPUS] = kernel;
byte generation;
byte seen[VCPUS];
bool called[VCPUS];        // EBB_PROGRAM_CALLED
bool stopping;             // page tables are gone that others may have read

// ---- the machine: interrupts are pending, noted, or tried again by the timer ------------------------
bool irq[VCPUS];
bool wake_pending[VCPUS];
bool timer[VCPUS];

byte ops = OPS;
byte faults = FAULTS;
bool wanted[VCPUS];        // called, and has not looked since
bool call_lost;
bool stale;

// The interrupt in the kernel's code: note_interrupt.
inline note_in_kernel() {
  atomic {
    irq[id] || timer[id] ->
    irq[id] = false;
    timer[id] = false;
    wake_pending[id] = true;
#ifndef M_NO_SECOND_TRY
    if
    :: called[id] -> timer[id] = true
    :: else
    fi
#endif
  }
}

// KernelLock::enter. The place is told before, and behind what is done in the program.
inline enter() {
  place[id] = kernel;
  atomic { lock == NOBODY -> lock = id };
  was_called = called[id];
  called[id] = false;
#ifndef M_NEVER_FORGETS
  seen[id] = generation
#endif
}
inline look() {
  wanted[id] = false
}

inline call(other) {
  atomic {
    was = called[other];
    called[other] = true
  };
  if
#ifdef M_RESTING_ONES_LOOK
  :: !was && place[other] == program -> irq[other] = true
#else
  :: !was && (place[other] == program || place[other] == halt) -> irq[other] = true
#endif
  :: else
  fi
}

// KernelLock::stop_others, with what it is for: the tables change, then all forget what is gone.
inline stop_others() {
  stopping = true;
  generation++;
  seen[id] = generation;
  other = 0;
  do
  :: other == VCPUS -> break
  :: other < VCPUS && (other == id || place[other] != program) -> other++
  :: other < VCPUS && other != id && place[other] == program ->
    call(other);
    other++
  od;
  other = 0;
  do
  :: other == VCPUS -> break
  :: other < VCPUS && (other == id || place[other] != program) -> other++
  od;
  stopping = false
}

inline leave_for(where) {
#ifdef M_PLACE_BEHIND_UNLOCK
  lock = NOBODY;
  place[id] = where
#else
  place[id] = where;
  lock = NOBODY
#endif
}

proctype vcpu(byte id) {
  byte other;
  bool was;
  bool was_called;
in_kernel:
  enter();
  look();
work:
  if
  :: ops > 0 ->
    ops--;
    if
    :: other = 0; do :: other < VCPUS - 1 -> other++ :: break od;
      if
      :: other != id -> atomic { wanted[other] = true }; call(other)
      :: else
      fi
    :: stop_others()
    fi
  :: true
  fi;
  if
  :: leave_for(program) -> goto to_program
  :: leave_for(rest) -> goto resting
  fi;
to_program:
  // Kernel text still; then the program's code, which goes on for ever if nothing happens.
  do
  :: note_in_kernel()
  :: break
  od;
end_running: // calls come, or never
  if
  :: atomic { seen[id] != generation && !stopping -> stale = true; assert(!stale) }
  :: atomic { irq[id] || timer[id] -> irq[id] = false; timer[id] = false;
       if
       :: called[id] -> skip
       :: else -> wake_pending[id] = true; goto end_running
       fi
     };
    goto in_kernel                     // handle_trap
  :: atomic { faults > 0 -> faults-- };
    do                                 // page_fault_landing
    :: note_in_kernel()
    :: break
    od;
    enter();
#ifndef M_FAULT_LOSES_CALL
    if
    :: was_called -> called[id] = true; timer[id] = true // call_again()
    :: else
    fi;
#endif
    leave_for(program);
    goto to_program
  fi;
resting:
  if
  :: called[id] -> goto in_kernel
  :: note_in_kernel() -> goto resting
  :: !called[id] ->
    place[id] = halt;
#ifndef M_HALT_WITHOUT_LOOK
    if
    :: called[id] -> goto awake
    :: else
    fi;
#endif
    // EBB_GATE_HALT: not if there was an interrupt before.
    atomic {
      if
      :: wake_pending[id] -> wake_pending[id] = false; goto awake
      :: else
      fi
    };
end_halted:
    atomic { irq[id] || timer[id] -> irq[id] = false; timer[id] = false };
awake:
    place[id] = rest;
    goto resting
  fi
}

// When nothing can move any more.
proctype monitor() {
  byte each;
  timeout ->
  do
  :: each == VCPUS -> break
  :: each < VCPUS -> call_lost = call_lost || wanted[each] || lock != NOBODY; each++
  od;
  assert(!call_lost)
}

init {
  byte each;
  atomic {
    do
    :: each == VCPUS -> break
    :: each < VCPUS -> run vcpu(each); each++
    od;
    run monitor()
  }
}
