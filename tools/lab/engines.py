# SPDX-License-Identifier: MIT
"""Who runs the cells: this process, an emulated machine for each, GNU parallel (also on other machines,
--sshlogin), or Slurm as a job array. Each engine is an iterator over results, in whatever order they
come. Other machines need the same checkout, built, at the path given by --remote-root."""
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time

from . import results, runner
from .place import ROOT
from .plan import Bad, Cell

TOOL = os.path.join("tools", "experiment")
SLURM_TASKS = 1000  # Debian's MaxArraySize is 1001
SLURM_POLL_S = 1.0
NESTED_BOOT_S = 120  # on a busy host


def need(program, package):
    if shutil.which(program) is None:
        raise Bad(f"{program} is not installed; Debian's package is {package}")


def encode(cell, work):
    """A cell and how to run it, as one line for a process elsewhere."""
    return json.dumps({"parameters": cell.parameters, "repetition": cell.repetition,
                       "seed": cell.seed, **work}, separators=(",", ":"))


def run_encoded(line):
    """The other end of encode()."""
    work = json.loads(line)
    cell = Cell(work.pop("parameters"), work.pop("repetition"), work.pop("seed"))
    return runner.run(cell, **work)


def local(cells, work, _options):
    for cell in cells:
        yield runner.run(cell, **work)


def nested(cells, work, _options):
    """Runs of the vmm in an emulated machine each (tools/nested), where this one has no KVM."""
    for cell in cells:
        if runner.is_linux(cell):
            yield runner.run(cell, **work)
            continue
        command = [os.path.join(ROOT, "tools", "nested"), "--host-root", "--plain", "--memory",
                   "5000", "--timeout", str(work["timeout"] + NESTED_BOOT_S), "--",
                   os.path.join(ROOT, TOOL), "--cell", encode(cell, work)]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                               check=False)
        line = next((line for line in ended.stdout.splitlines() if line.startswith('{"schema"')), None)
        if line is None:
            raise Bad(f"tools/nested: {(ended.stderr.strip().splitlines() or ['said nothing'])[-1]}")
        yield results.parse("the emulated machine's output", 1, line)


def parallel(cells, work, options):
    need("parallel", "parallel")
    root = options.remote_root or ROOT
    command = ["parallel", "--will-cite", "--jobs", str(options.jobs)]
    if options.sshlogin:
        command += ["--sshlogin", options.sshlogin]
    command.append(f"cd {shlex.quote(root)} && {TOOL} --cell {{}}")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        # A thread feeds it: parallel reads on only while somebody takes its output.
        def feed():
            with process.stdin as pipe:
                pipe.writelines(encode(cell, work) + "\n" for cell in cells)

        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        for line in process.stdout:
            yield results.parse("a job's output", 1, line)
        feeder.join()


class SlurmJob:
    """A job array and its folder: the cells, a file of results a task, the job's number."""

    def __init__(self, folder):
        self.folder = folder
        self.seen = {}  # part -> bytes taken

    def path(self, name):
        return os.path.join(self.folder, name)

    def submit(self, cells, work, jobs, root):
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        tasks = min(len(cells), SLURM_TASKS)
        with open(self.path("cells"), "w", encoding="utf-8") as file:
            file.writelines(encode(cell, work) + "\n" for cell in cells)
        inner = (f"cd {shlex.quote(root)} && {TOOL} --task $SLURM_ARRAY_TASK_ID --of {tasks} "
                 f"--folder {shlex.quote(os.path.abspath(self.folder))}")
        # One machine a run: two runs beside each other measure each other.
        command = ["sbatch", "--parsable", "--job-name=ebb-experiment", "--ntasks=1",
                   f"--array=0-{tasks - 1}%{jobs}", "--output", self.path("task-%a.log"),
                   "--wrap", inner]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise Bad(f"sbatch: {ended.stderr.strip() or ended.stdout.strip()}")
        with open(self.path("job"), "w", encoding="utf-8") as file:
            file.write(ended.stdout.strip().split(";")[0])

    def number(self):
        try:
            with open(self.path("job"), encoding="utf-8") as file:
                return file.read().strip()
        except OSError:
            return ""

    def is_running(self):
        number = self.number()
        if not number:
            return False
        ended = subprocess.run(["squeue", "-h", "-j", number], capture_output=True, text=True,
                               check=False)
        return ended.returncode == 0 and bool(ended.stdout.strip())

    def new_results(self):
        """What the tasks finished since the last call; whole lines only."""
        names = sorted(os.listdir(self.folder)) if os.path.isdir(self.folder) else []
        for name in names:
            if not name.startswith("part-"):
                continue
            with open(self.path(name), "rb") as file:
                file.seek(self.seen.get(name, 0))
                data = file.read()
            whole = data.rfind(b"\n") + 1
            self.seen[name] = self.seen.get(name, 0) + whole
            for line in data[:whole].splitlines():
                yield results.parse(self.path(name), 1, line)


def slurm(cells, work, options):
    need("sbatch", "slurm-client")
    job = SlurmJob(options.results + ".slurm")
    wanted = {cell.key for cell in cells}

    def collect():
        for result in job.new_results():
            key = results.cell_of(result).key
            if key in wanted:
                wanted.discard(key)
                yield result

    # A job of an earlier start that goes on, or went on to its end, is not started again.
    yield from collect()
    if not job.is_running():
        yield from collect()
        left = [cell for cell in cells if cell.key in wanted]
        if not left:
            shutil.rmtree(job.folder, ignore_errors=True)
            return
        job.submit(left, work, options.jobs, options.remote_root or ROOT)
        job.seen.clear()
    print(f"experiment: Slurm job {job.number()}; what it finishes is kept in {job.folder}",
          file=sys.stderr)
    while job.is_running():
        yield from collect()
        time.sleep(SLURM_POLL_S)
    yield from collect()
    if not wanted:
        shutil.rmtree(job.folder, ignore_errors=True)


def run_task(folder, task, tasks):
    """A task of a job array: every tasks-th cell, from `task` on."""
    with open(os.path.join(folder, "cells"), encoding="utf-8") as file:
        lines = file.readlines()[task::tasks]
    with open(os.path.join(folder, f"part-{task}"), "a", encoding="utf-8") as part:
        for line in lines:
            part.write(results.encode(run_encoded(line)) + "\n")
            part.flush()


ENGINES = {"local": local, "nested": nested, "parallel": parallel, "slurm": slurm}
