# SPDX-License-Identifier: MIT
"""Linux's own free page reporting on a page trace, measured from outside: a stock Debian kernel under
QEMU whose only program (replay_pages.c) asks for memory as the trace tells. Its RAM is a memfd, of which
this process reads how much is resident, each time the guest says how much it has.

What is there before the trace begins (the kernel, the trace, the program) is subtracted."""
import lzma
import os
import shutil
import stat
import statistics
import subprocess
import tempfile
import threading

from . import debian_kernel
from .initramfs import Archive
from .place import ROOT
from .plan import seconds_of, trace_path

SOURCE = os.path.join(ROOT, "tools", "lab", "replay_pages.c")
SETTLE_MS = 6000       # three passes of Linux's reporting, which waits 2 s before each
BASE_SAMPLES = 25      # the last half second of them
NS_PER_MS = 1e6
MIB = 2**20
PAGE = 4096
DEFAULT_ORDER = 9      # Linux's own: pageblock_order
# Linux 6.1 under PVM is no guest; these modules are the hardware's.
KVM_OF_LINUX = ("kvm_intel", "kvm_amd")


class Failed(Exception):
    """The guest or QEMU did not do it; the message says what."""


def options_of(parameters):
    """What the guest's program wants to know, as words for the kernel's command line."""
    off = parameters.get("report") == "off"
    return {"order": "off" if off else str(parameters.get("order", DEFAULT_ORDER)),
            "thp": str(parameters.get("guest_thp", "off")), "settle_ms": str(SETTLE_MS),
            "rest_ms": str(round(seconds_of(parameters.get("arg.rest", "0s")) * 1000))}


def build_program(folder):
    if shutil.which("gcc") is None:
        raise Failed("gcc is missing; Debian's package is gcc")
    target = os.path.join(folder, "init")
    made = subprocess.run(["gcc", "-O2", "-static", "-s", "-o", target, SOURCE], text=True,
                          capture_output=True, check=False)
    if made.returncode != 0:
        raise Failed(f"{SOURCE}: {made.stderr.strip().splitlines()[-1]}")
    return target


def write_archive(path, program, trace, modules):
    with open(path, "wb") as file:
        archive = Archive(file)
        for name in ("proc", "sys", "dev"):
            archive.add(name, stat.S_IFDIR | 0o755)
        archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
        archive.add_file(program, "init")
        for index, content in enumerate(modules.values()):
            archive.add(f"modules/{index}", stat.S_IFREG | 0o644, content)
        with (lzma.open if trace.endswith(".xz") else open)(trace, "rb") as content:
            archive.add("trace", stat.S_IFREG | 0o644, content.read())
        archive.end()


def qemu_command(kernel, archive, mem, options, accelerator):
    reporting = "off" if options["order"] == "off" else "on"
    memory = mem if mem[-1] in "MG" else f"{mem}M"
    return ["qemu-system-x86_64", "-cpu", "max" if accelerator == "tcg" else "host",
            "-accel", accelerator, "-smp", "2", "-m", memory, "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot",
            "-object", f"memory-backend-memfd,id=ram,size={memory},share=on",
            "-machine", "pc,memory-backend=ram",
            "-device", f"virtio-balloon-pci,free-page-reporting={reporting}",
            "-kernel", kernel, "-initrd", archive, "-serial", "stdio", "-serial", "null",
            "-append", " ".join(["console=ttyS1", "quiet", "panic=-1", "no_timer_check",
                                 *(f"{name}={value}" for name, value in options.items())])]


class ResidentFile:
    """The guest's RAM in QEMU's hands. Its blocks are the pages that it has."""

    def __init__(self, pid):
        folder = f"/proc/{pid}/fd"
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            try:
                if os.readlink(path).startswith("/memfd:"):
                    self._path = path
                    return
            except FileNotFoundError:
                pass
        raise Failed("QEMU has no memfd for the guest's RAM")

    def bytes(self):
        return os.stat(self._path).st_blocks * 512


class Samples:
    """What the guest said, with what was resident then."""

    def __init__(self):
        self.base = []     # resident bytes
        self.points = []   # (ns, resident bytes, live bytes)
        self.stretched_ns = self.events = None
        self.failed = None

    def take(self, line, resident):
        words = line.split()
        if line.startswith("idle "):
            self.base.append(resident.bytes())
        elif line.startswith("live "):
            self.points.append((int(words[1]), resident.bytes(), int(words[2]) * PAGE))
        elif line.startswith("end "):
            self.stretched_ns, self.events = int(words[1]), int(words[2])
        elif line.startswith("failed "):
            self.failed = line[len("failed "):]


def integral(points, column, base):
    """MiB times seconds, of what is beyond `base` bytes."""
    return sum(max(before[column] - base, 0) / MIB * (after[0] - before[0]) / 1e9
               for before, after in zip(points, points[1:]))


def statistics_of(samples, accelerator):
    """As vmm --stats has them, as far as there are such things; the rest is part of the workload."""
    if len(samples.base) < BASE_SAMPLES or len(samples.points) < 10:
        raise Failed("the guest said too little to be measured")
    base = statistics.median(samples.base[-BASE_SAMPLES:])
    points = samples.points
    rss, live = integral(points, 1, base), integral(points, 2, 0)
    return {"workload": {"name": "replay", "seconds": points[-1][0] / 1e9, "events": samples.events,
                         "stretched_s": samples.stretched_ns / 1e9},
            "host": {"accelerator": accelerator},
            "memory": {"base_bytes": int(base),
                       "rss_peak_bytes": int(max(point[1] for point in points) - base),
                       "rss_final_bytes": int(max(points[-1][1] - base, 0)),
                       "live_peak_bytes": max(point[2] for point in points),
                       "rss_mib_s": rss, "live_mib_s": live, "footprint_ratio": rss / live},
            "series": {"at_ms": [round(point[0] / NS_PER_MS) for point in points],
                       "resident_kib": [int(max(point[1] - base, 0)) >> 10 for point in points],
                       "live_kib": [point[2] >> 10 for point in points]}}


def converse(command, log, timeout, preexec):
    """Runs QEMU to its end and returns the samples."""
    samples = Samples()
    with open(log, "wb") as errors:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=errors, preexec_fn=preexec)  # pylint: disable=W1509
        except FileNotFoundError as error:
            raise Failed("qemu-system-x86_64 is missing; Debian's package is "
                         "qemu-system-x86") from error
    late = threading.Timer(timeout, process.kill)
    late.start()
    try:
        resident = None
        for line in process.stdout:
            resident = resident or ResidentFile(process.pid)
            samples.take(line.decode("ascii", "replace").strip(), resident)
        process.wait()
    finally:
        timed_out = not late.is_alive()
        late.cancel()
        process.kill()
        process.wait()
    if timed_out:
        raise subprocess.TimeoutExpired(command, timeout)
    if samples.failed or samples.events is None:
        with open(log, encoding="utf-8", errors="replace") as errors:
            said = errors.read().strip().splitlines()[-1:]
        raise Failed(samples.failed or f"QEMU ended with status {process.returncode}: {said}")
    return samples


def measure(parameters, kvm, timeout, preexec):
    """One run; its statistics. Raises Failed, or subprocess.TimeoutExpired."""
    options = options_of(parameters)
    accelerator = "kvm" if kvm in KVM_OF_LINUX else "tcg"
    try:
        kernel = debian_kernel.fetch_kernel()
        modules = debian_kernel.modules_in_order(kernel, ("virtio-pci", "virtio-balloon"))
    except debian_kernel.Missing as error:
        raise Failed(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="ebb-peer-") as folder:
        archive = os.path.join(folder, "initramfs")
        write_archive(archive, build_program(folder), trace_path(parameters["trace"]), modules)
        command = qemu_command(os.path.join(kernel, "vmlinuz"), archive,
                               str(parameters.get("mem", "2G")), options, accelerator)
        samples = converse(command, os.path.join(folder, "qemu.log"), timeout, preexec)
    return statistics_of(samples, accelerator)
