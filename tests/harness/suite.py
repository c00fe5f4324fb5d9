# SPDX-License-Identifier: MIT
"""How a runner reports: a line per case ("ok", "FAIL" or "SKIP") and one line of counts at the end,
which tools/dev/sum-tests adds up. Where KVM is required (REQUIRE_KVM=1), what cannot run for want of it
has failed."""
import os
import shutil
import signal
import subprocess
import sys

from lab import command_line

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

EMULATED = "EBB_TESTS_EMULATED"  # in the environment of a run in the nested machine


def why_no_kvm():
    """One line; None where a guest runs."""
    check = subprocess.run(["bash", os.path.join(ROOT, "tools", "check-kvm")], stdout=subprocess.PIPE,
                           text=True, check=False)
    return check.stdout.strip() if check.returncode != 0 else None


def kvm_is_required():
    return os.environ.get("REQUIRE_KVM", "") not in ("", "0")


def can_nest():
    return os.access(os.path.join(ROOT, "tools", "nested"), os.X_OK) and \
        shutil.which("qemu-system-x86_64") is not None


def run_in_nested_machine(script, arguments):
    """This process becomes a run of the same script in an emulated machine that has KVM and sees all of
    this host's files."""
    os.execv(os.path.join(ROOT, "tools", "nested"),
             ["nested", "--host-root", "--plain", "--memory", "6000", "--timeout", "3600", "--",
              "env", f"{EMULATED}=1", "REQUIRE_KVM=1", "PYTHONUNBUFFERED=1", os.path.abspath(script),
              *arguments, "--via", "kvm"])


def is_emulated():
    """Whether the processor is QEMU's in software, which is slow and lacks some exceptions of the FPU."""
    return os.environ.get(EMULATED, "") == "1"


def arguments(description, *names):
    """A parser with those options of all runners that are named, and their meaning."""
    parser = command_line.Parser(description.split("\n\n", 1)[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), type=os.path.abspath,
                        help="folder of vmm")
    if "via" in names:
        parser.add_argument("--via", choices=("kvm", "nested", "auto"),
                            default=os.environ.get("VIA") or "auto",
                            help="where cases that need KVM run")
    if "filter" in names:
        parser.add_argument("--filter", default="", help="only cases whose name contains this")
    if "jobs" in names:
        parser.add_argument("--jobs", type=command_line.whole_number(1), default=os.cpu_count() or 1, metavar="N",
                            help="cases at a time; as many as there are CPUs when absent")
    if "verbose" in names:
        parser.add_argument("--verbose", action="store_true", help="show the output of every case")
    return parser


def clean_up_on_sigterm():
    """A plain SIGTERM would leave what is running behind."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))


def let_signals_through():
    """A shell's background job ignores these, and so would all that it starts: guests pass on to their
    programs what is ignored from the beginning."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGQUIT) == signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


class Suite:
    """One runner's cases and counts, under the name that its last line begins with."""

    def __init__(self, name):
        self.name = name
        let_signals_through()
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}

    def line(self, word, name, note):
        print(f"{word:<4}  {name}{note}", flush=True)

    def report(self, name, found, note=""):
        """A case that ran: `found` has the lines of what is wrong with it, none when it passed."""
        self.line("FAIL" if found else "ok", name, note)
        for line in "\n".join(found).splitlines():
            print(f"        {line}", flush=True)
        self.counts["failed" if found else "passed"] += 1

    def skip(self, name, why, required=False):
        """A case that cannot run here; `required` says that it has to."""
        self.line("FAIL" if required else "SKIP", name, f": {why}")
        self.counts["failed" if required else "skipped"] += 1

    def end(self):
        """Prints the counts; the runner's exit status: 1 when something failed or there was nothing."""
        print("{}: {passed} passed, {failed} failed, {skipped} skipped".format(
            self.name, **self.counts), flush=True)
        return 1 if self.counts["failed"] or not sum(self.counts.values()) else 0
