// SPDX-License-Identifier: MIT
// How a program's threads on one vCPU come to run, as a model for spin: the scheduler, the timer, and
// streams of the host's that become ready. README.md says what stands for what.
//
// Three threads: one waits for a stream (poll), one for a futex that the first wakes, and one
// computes, with calls or without. Each event of the stream must reach the first, and each of those
// the second, though the third never lets go of the processor by itself.
//
// Size:      EVENTS of the stream, CALLS of the thread that computes
//            FAULTS of it that wait for memory
// Variants:  ENDS (that thread ends behind them, and the vCPU halts when nobody is ready)
// Mutations: M_..., each of which breaks the model in one place.

#ifndef EVENTS
#define EVENTS 2
#endif
#ifndef CALLS
#define CALLS 1
#endif
#ifndef FAULTS
#define FAULTS 1
#endif

#define THREADS 3
#define WATCHER 0
#define SLEEPER 1
#define COMPUTER 2
#define NOBODY 3

// What the timer does (MSR_TSC_DEADLINE), or is to do for the program (EBB_PROGRAM_ALARM): nothing,
// interrupt soon, or in an hour, which is too late.
#define OFF 0
#define SOON 1
#define LATE 2

mtype = { ready, waiting, running };
// Where a thread goes on.
mtype = { look, doze, catch_up, tick, alarm_set, again, user };

// ---- what host and guest share -------------------------------------------------------------------

bool stream;          // SocketState::ready: there is something to read
byte sent;            // events, all in all
bool waits;           // SocketBoard::waits: the guest wants to be told
bool streams_ready;   // VcpuPage::streams_ready

// ---- the machine ---------------------------------------------------------------------------------

bool irq;             // an interrupt that has not been taken
bool wake_pending;    // VcpuPage::wake_pending
byte timer = OFF;
byte alarm = OFF;

// What the processor runs decides who takes an interrupt: the program's own code is interrupted for
// good, the kernel's just notes it. Both with interrupts on, or off.
bool in_kernel = true;
bool halted;
bool masked;          // EBB_PROGRAM_MASKED: interrupts are off

// ---- threads -------------------------------------------------------------------------------------

mtype state[THREADS] = ready;
mtype at[THREADS];
byte current = COMPUTER;
byte got;             // events that the watcher has taken
byte woken;           // of those, what the sleeper has heard of
byte futex;           // events that the sleeper has not looked at
bool watches;         // the watcher waits by any files
bool hours;           // a timer of the program's is set, which runs out in an hour
byte calls;
byte faults;
byte next;
bool event_lost;

#define OTHERS_READY (state[WATCHER] == ready || state[SLEEPER] == ready || state[COMPUTER] == ready)

// The interrupt in the kernel's code: note_interrupt. What the program is to be interrupted for is
// tried again soon.
inline note_in_kernel() {
  irq = false;
  wake_pending = true;
  if
#ifndef M_NO_SECOND_TRY
  :: streams_ready || alarm != OFF -> timer = SOON
#endif
  :: else
  fi
}

inline take_ready_files() {
  if
  :: watches && streams_ready ->
    streams_ready = false;
    watches = false;
    state[WATCHER] = ready
  :: else
  fi
}

// arch::halt_until, around the gate: EBB_GATE_HALT.
inline begin_halt(until) {
  atomic {
    if
#ifdef M_INTERRUPT_NOT_LATCHED
    :: halted = true; timer = until
#else
    :: wake_pending -> wake_pending = false
    :: else -> halted = true; timer = until
#endif
    fi
  }
}
inline end_halt() {
  atomic { irq -> irq = false; halted = false }
}
inline give_timer_back() {
  atomic {
    if
#ifndef M_NO_TRY_BEHIND_A_HALT
    :: streams_ready -> timer = SOON
    :: !streams_ready && alarm != OFF -> timer = alarm
#else
    :: alarm != OFF -> timer = alarm
#endif
    :: else
    fi
  }
}

// Scheduler::go_to_next: who is ready, in any order; nobody: halts until the stream is ready.
inline go_to_next() {
  do
  :: atomic {
       OTHERS_READY ->
       if
       :: state[WATCHER] == ready -> next = WATCHER
       :: state[SLEEPER] == ready -> next = SLEEPER
       :: state[COMPUTER] == ready -> next = COMPUTER
       fi;
       current = next;
       state[next] = running;
       next = NOBODY;
       break
     }
  :: atomic { !OTHERS_READY && streams_ready ->
       // ProgramMachine::sleep_until_ns returns; all watchers look again
       streams_ready = false;
       if
       :: watches -> watches = false; state[WATCHER] = ready
       :: else
       fi
     }
  :: !OTHERS_READY && !streams_ready ->
     begin_halt(OFF);
     if
     :: halted ->
end_halted:
       end_halt()
     :: else
     fi;
     give_timer_back()
  od
}

proctype vcpu() {
  at[WATCHER] = look;
  at[SLEEPER] = doze;
  at[COMPUTER] = catch_up;
  state[COMPUTER] = running;
  do
  // The watcher's poll: FileCalls::wait_for.
  :: at[current] == look && stream ->
    atomic { stream = false; got++; futex++;
      if
      :: state[SLEEPER] == waiting -> state[SLEEPER] = ready
      :: else
      fi;
      at[current] = catch_up
    }
  :: at[current] == look && !stream ->
    // SocketMailbox::watch
    waits = true;
#ifndef M_NO_SECOND_LOOK
    if
    :: stream -> streams_ready = true
    :: else
    fi;
#endif
    atomic { state[current] = waiting; watches = true };
    go_to_next()

  // The sleeper's futex.
  :: at[current] == doze ->
    if
    :: atomic { futex != 0 -> futex--; woken++; at[current] = catch_up }
    :: atomic { futex == 0 -> state[current] = waiting };
       go_to_next()
    fi

  // System::catch_up, behind a call or a trap.
  :: at[current] == catch_up ->
    atomic { take_ready_files(); at[current] = tick }
  :: at[current] == tick ->
    if
    :: OTHERS_READY -> // the slice is over
      atomic { at[current] = alarm_set; state[current] = ready };
      go_to_next()
    :: at[current] = alarm_set // it is not, or nobody wants the processor
    fi
  :: at[current] == alarm_set ->
    if
    :: atomic { (OTHERS_READY -> SOON : (hours -> LATE : OFF)) == alarm ->
#ifdef M_NO_LOOK_BEHIND_A_SWITCH
         at[current] = user
#else
         at[current] = again
#endif
       }
    :: atomic { else ->
         alarm = (OTHERS_READY -> SOON : (hours -> LATE : OFF));
         if
         :: alarm != OFF -> timer = alarm
         :: else
         fi;
#ifdef M_NO_LOOK_BEHIND_THE_ALARM
         at[current] = user
#else
         at[current] = again
#endif
       }
    fi
  :: at[current] == again ->
    atomic {
      if
      :: watches && streams_ready -> take_ready_files(); at[current] = tick
      :: else -> at[current] = user
      fi
    }

  // The program's own code.
  :: at[current] == user ->
    atomic {
      // divert_if_wanted(): a call returns without loading all flags
#ifndef M_STAYS_MASKED
      masked = false;
#endif
      in_kernel = false
    };
end_computing:
    if
    // Interrupted: note_interrupt goes on to trap_landing, with interrupts off.
    :: atomic { irq && !masked ->
         irq = false;
         wake_pending = true;
         if
#ifdef M_NO_STREAMS_IN_STUB
         :: alarm != OFF ->
#else
         :: streams_ready || alarm != OFF ->
#endif
           in_kernel = true;
           masked = true;
           if // handle_trap: the timer is the alarm's again
           :: alarm != OFF -> timer = alarm
           :: else
           fi;
           at[current] = catch_up
         :: else -> in_kernel = false
         fi
       }
    :: atomic { current != COMPUTER -> in_kernel = true; at[current] = (current == WATCHER -> look : doze) }
    :: atomic { current == COMPUTER && calls < CALLS ->
         calls++;
         in_kernel = true;
         if
         :: hours = !hours // setitimer
         :: skip
         fi;
         at[current] = catch_up
       }
    // A page fault that waits for memory: nothing looks outside before the program goes on.
    :: atomic { current == COMPUTER && faults < FAULTS -> faults++; in_kernel = true };
       begin_halt(SOON);
       if
       :: halted -> end_halt()
       :: else
       fi;
       give_timer_back()
#ifdef ENDS
    :: atomic { current == COMPUTER && calls == CALLS -> in_kernel = true; state[COMPUTER] = waiting };
       go_to_next()
#endif
    // It computes. Nothing else happens unless an interrupt comes.
    fi
  od
}

// An interrupt while the kernel runs with interrupts on.
active proctype interrupts() {
end:
  do
  :: atomic { irq && in_kernel && !halted && !masked -> note_in_kernel() }
  od
}

active proctype timer_device() {
end:
  do
  :: atomic { timer == SOON -> timer = OFF; irq = true }
  od
}

// A thread of the host's: publishes what is there, then tells who waits (SocketCalls).
active proctype host() {
  byte left = EVENTS;
  do
  :: left > 0 && !stream ->
    left--;
    atomic { stream = true; sent++ };
    if
    :: atomic { waits -> waits = false };
       streams_ready = true;
       irq = true
    :: else
    fi
  :: left == 0 -> break
  od
}

init {
  atomic { run vcpu() };
  // When nothing can move any more, all has arrived.
  timeout -> event_lost = got != EVENTS || woken != EVENTS;
  assert(!event_lost)
}
