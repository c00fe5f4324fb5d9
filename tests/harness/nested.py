# SPDX-License-Identifier: MIT
"""Runs cases in one boot of an emulated machine with KVM (tools/nested)."""
import os
import shlex
import subprocess
import tempfile

from .boot_case import DEFAULT_TIMEOUT_S, PREPARATION_ERRORS, prepare, signal_of, write
from .expectations import judge
from .suite import ROOT

SLOWER = 4  # every timeout is that much longer under emulation
TIMEOUT_S = 2400  # for all cases together, on a busy host
MEMORY_MIB = 2560

# One case, inside: its folder, timeout, signal and when to send it, then the command. A status of
# 137 is a kill after the timeout. Waits by polling: there is nothing better in a small shell.
SCRIPT = """#!/bin/sh
one_case() {
  dir=$1 limit=$2 signal=$3 when=$4; shift 4
  now=$(cut -d. -f1 /proc/uptime)
  if [ -z "$signal" ]; then
    timeout -s KILL "$limit" "$@" >"$dir/stdout" 2>"$dir/stderr"
    status=$?
  else
    timeout -s KILL "$limit" "$@" >"$dir/stdout" 2>"$dir/stderr" &
    while kill -0 $! && ! grep -qE "$when" "$dir/stdout"; do sleep 0.1; done
    kill -s "$signal" $! # busybox's timeout becomes the command, its child does the timing
    wait $!
    status=$?
  fi 2>/dev/null
  echo $status >"$dir/status"
  rm -f "$dir/run.trace" "$dir/core" # files are memory here, and holes go out as zeroes
  echo "${dir##*/} $(($(cut -d. -f1 /proc/uptime) - now)) s"
}
"""


class NestedRun:
    """What a case in the nested machine left behind."""

    used = None  # not measured

    def __init__(self, directory):
        status = self.text(directory, "status").strip()
        self.status = int(status) if status.isdigit() and int(status) != 137 else None
        self.stdout = self.text(directory, "stdout")
        self.stderr = self.text(directory, "stderr")

    @staticmethod
    def text(directory, name):
        try:
            with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""


def call(top, script, build):
    """Runs a script inside; files below `top` go in and come out."""
    process = subprocess.Popen([os.path.join(ROOT, "tools", "nested"), "--build", build,
                                "--memory", str(MEMORY_MIB), "--timeout",
                                str(TIMEOUT_S), "--put", top, "--get", top, "--", "sh",
                                script])
    try:
        process.wait()
    except BaseException:
        process.terminate()  # it takes the machine and its files away
        process.wait()
        raise


def run(cases, build, verbose):
    """Runs {name: section} in one boot; yields (name, what is wrong with it)."""
    with tempfile.TemporaryDirectory(prefix="ebb-boot-") as top:
        script = SCRIPT
        commands = {}
        for name, section in cases.items():
            directory = os.path.join(top, name)
            os.mkdir(directory)
            try:
                commands[name] = prepare(section, directory, build)
                numbers, after = signal_of(section)
            except PREPARATION_ERRORS as error:
                yield name, [f"cannot run: {error}"]
                continue
            limit = section.getfloat("timeout", DEFAULT_TIMEOUT_S) * SLOWER
            script += shlex.join(["one_case", directory, f"{limit:.0f}",
                                  numbers[0].name[3:] if numbers else "", after or "",
                                  *commands[name]]) + "\n"
        path = write(top, "run", script.encode())
        call(top, path, build)
        for name, command in commands.items():
            directory = os.path.join(top, name)
            done = NestedRun(directory)
            if not os.path.exists(os.path.join(directory, "status")):
                yield name, ["the nested machine ended before this case did"]
            else:
                yield name, judge(cases[name], command, done, directory, verbose)
