# SPDX-License-Identifier: MIT
"""One vmm process of a case, with its signals, its time and what it used."""
import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

BETWEEN_SIGNALS_S = 0.2  # long enough for the first to be felt
PIPE_FULL = 65536 - 4096  # of a pipe's usual size; a text longer than what is left waits


def unread(pipe):
    """Bytes that wait in a pipe."""
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]


def kill(process):
    """With everything it started: a child that lives on would keep the pipes open."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has just ended by itself


class Running:
    """The processes of all cases that run, to end them all before their time."""

    def __init__(self):
        self.lock = threading.Lock()
        self.processes = set()
        self.stopped = False

    def add(self, process):
        with self.lock:
            self.processes.add(process)
            if self.stopped:
                kill(process)

    def remove(self, process):
        with self.lock:
            self.processes.discard(process)

    def stop(self):
        with self.lock:
            self.stopped = True
            for process in self.processes:
                kill(process)


# The program starts with the signal waiting for it: there is no earlier moment.
START_WITH_SIGNAL = """import os, signal, sys
number = int(sys.argv[1])
signal.pthread_sigmask(signal.SIG_BLOCK, [number])
os.kill(os.getpid(), number)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Run:
    """One vmm process; `status` is None when it had to be killed."""

    def __init__(self, command, timeout_s, running, signals=(), signal_after=None, stalls=False,
                 environment=None, script=None):
        self.output = {"stdout": b"", "stderr": b""}
        self.stalls = stalls  # standard output is not read any more once the signal was sent
        self.ended = threading.Event()
        if signals and signal_after is None:
            command = [sys.executable, "-c", START_WITH_SIGNAL, str(int(signals[0])), *command]
        started = time.monotonic()
        # A session of its own, so that a signal for the case stays with the case.
        # A script is short enough for the pipe to take it whole.
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL if script is None else subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env={**os.environ, **(environment or {})})
        running.add(self.process)
        if script is not None:
            self.process.stdin.write("".join(line + "\n" for line in script).encode())
            self.process.stdin.flush()
            if not signals:  # else input stays open: the signal is to end it
                self.process.stdin.close()
        self.signals = signals
        self.signal_after = signal_after
        readers = [threading.Thread(target=self.read, args=(name,)) for name in self.output]
        for reader in readers:
            reader.start()
        killer = threading.Timer(timeout_s, self.time_out)
        killer.start()
        # Not Popen.wait: what the process used is wanted, too.
        _, status, used = os.wait4(self.process.pid, 0)
        self.ended.set()
        killer.cancel()
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.status = None if self.timed_out else self.process.returncode
        self.used = {"maxrss": used.ru_maxrss * 1024, "cpu": used.ru_utime + used.ru_stime,
                     "elapsed": time.monotonic() - started}
        if self.process.stdin is not None:
            self.process.stdin.close()
        for reader in readers:
            reader.join()
        running.remove(self.process)
        self.stdout = self.output["stdout"].decode("utf-8", "replace")
        self.stderr = self.output["stderr"].decode("utf-8", "replace")

    timed_out = False

    def time_out(self):
        if not self.ended.is_set():
            self.timed_out = True
            kill(self.process)

    def read(self, name):
        pipe = getattr(self.process, name)
        with pipe:
            while chunk := os.read(pipe.fileno(), 65536):
                self.output[name] += chunk
                if name == "stdout" and self.signal_after is not None and re.search(
                        self.signal_after, self.output[name].decode("utf-8", "replace")):
                    self.signal_after = None
                    if self.stalls:
                        while not self.ended.wait(0.01) and unread(pipe) < PIPE_FULL:
                            pass
                    for number in self.signals:
                        if self.ended.is_set():
                            break
                        self.process.send_signal(number)
                        self.ended.wait(BETWEEN_SIGNALS_S)
                    if self.stalls:
                        self.ended.wait()
