# SPDX-License-Identifier: MIT
"""One run of the vmm, and what is to be known of the machine that it ran on."""
import ctypes
import datetime
import functools
import json
import os
import platform
import signal
import subprocess
import tempfile
import time

from . import linux_peer
from .place import IS_INSTALLED, ROOT
from .plan import POLICY, trace_path
from .results import SCHEMA

PR_SET_PDEATHSIG = 1
OPTIONS = {"host": "--host", "workers": "--workers", "host_fault": "--host-fault",
           "transport": "--transport", "backing": "--backing", "discard": "--discard",
           "decline_below": "--decline-below", "memory_price": "--memory-price",
           "prefault": "--prefault", "mem": "--mem", "cpus": "--cpus", "workload": "--workload",
           "speed": "--speed", "sample_ms": "--sample-ms"}


def is_linux(cell):
    """Whether a cell measures Linux and not the vmm."""
    return cell.parameters.get("peer") == "linux"


def arguments(cell):
    """The vmm's options for a cell."""
    words = ["--seed", str(cell.seed)]
    policy = [f"{name}={cell.parameters[name]}" for name in POLICY if name in cell.parameters]
    if cell.parameters.get("report") == "off":
        words += ["--report", "off"]
    elif policy:
        words += ["--report", ",".join(policy)]
    for name, value in cell.parameters.items():
        if name == "trace":
            words += ["--input", trace_path(value)]
        elif name.startswith("arg."):
            words += ["--arg", f"{name[4:]}={value}"]
        elif name in OPTIONS:
            words += [OPTIONS[name], str(value)]
    return words


def first_line(path, start):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith(start)),
                        None)
    except OSError:
        return None


def git(*words):
    if IS_INSTALLED:
        return None
    try:
        result = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True,
                                check=False)
    except OSError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def kvm_flavour():
    if subprocess.run([os.path.join(ROOT, "tools", "check-kvm")], stdout=subprocess.DEVNULL,
                      check=False).returncode != 0:
        return "none"
    # kvm_pvm first: it can be loaded beside a vendor's module that found no hardware.
    for module in ("kvm_pvm", "kvm_amd", "kvm_intel"):
        if os.path.exists(f"/sys/module/{module}"):
            return module
    return "kvm"


@functools.cache
def machine():
    commit = git("rev-parse", "--short=12", "HEAD")
    changed = commit and git("status", "--porcelain", "--untracked-files=no", "--", "vmm", "guest",
                             "shared", "linker")
    memory = first_line("/proc/meminfo", "MemTotal")
    return {"kernel": platform.release(), "cpu": first_line("/proc/cpuinfo", "model name"),
            "cores": os.cpu_count(), "memory_mib": memory and int(memory.split()[0]) // 1024,
            "kvm": kvm_flavour(), "commit": commit and commit + ("+changes" if changed else "")}


def die_with_parent():
    # An orphan would disturb the runs of whoever goes on.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def thinned(series, points):
    """Every k-th point of each list, so that at most `points` are left."""
    lists = {name: values for name, values in series.items() if isinstance(values, list)}
    count = max(map(len, lists.values()), default=0)
    step = -(-count // points) if points else 0
    return {name: values[::step] if step else [] for name, values in lists.items()}


def run_vmm(cell, vmm, image, timeout):
    """(status, error, statistics) of a run of the vmm."""
    stats = error = None
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "stats.json")
        command = [vmm, image, "--quiet", "--live", "off", "--stats", path, *arguments(cell)]
        try:
            ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, timeout=timeout, check=False,
                                   preexec_fn=die_with_parent)  # pylint: disable=W1509
            status = ended.returncode
            error = ended.stderr.decode(errors="replace").strip().splitlines()
            error = error[0] if error and status != 0 else None
        except OSError as problem:
            status, error = 127, f"{vmm}: {problem.strerror}"
        try:
            with open(path, encoding="utf-8") as file:
                stats = json.load(file)
        except (OSError, ValueError) as problem:
            if status == 0:
                status, error = 125, f"{vmm}: wrote no statistics: {problem}"
    return status, error, stats


def run_linux(cell, timeout):
    """The same of a run of Linux beside it."""
    try:
        return 0, None, linux_peer.measure(cell.parameters, machine()["kvm"], timeout,
                                           die_with_parent)
    except linux_peer.Failed as problem:
        return 125, str(problem), None


def run(cell, experiment, vmm, image, timeout, series):
    """Runs one cell; the result, of a failed run too."""
    vmm, image = os.path.join(ROOT, vmm), os.path.join(ROOT, image)
    started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    load = os.getloadavg()[0]
    begin = time.monotonic()
    try:
        status, error, stats = (run_linux(cell, timeout) if is_linux(cell) else
                                run_vmm(cell, vmm, image, timeout))
    except subprocess.TimeoutExpired:
        status, error = 124, f"ended after {timeout} s: it took longer than timeout allows"
        stats = None
    wall = time.monotonic() - begin
    if stats and isinstance(stats.get("series"), dict):
        stats["series"] = thinned(stats["series"], series)
    return {"schema": SCHEMA, "experiment": experiment, "parameters": cell.parameters,
            "repetition": cell.repetition, "seed": cell.seed, "started": started,
            "wall_s": round(wall, 3), "status": status, "error": error,
            "host": {**machine(), "load": round(load, 2)}, "stats": stats}
