# SPDX-License-Identifier: MIT
"""Result files: one JSON line a run. A line is written in one piece and synced, so a killed run
leaves whole lines and at most one torn one at the end, which is cut off when the file is opened to
go on.

    {"schema": 1, "experiment": NAME, "parameters": {...}, "repetition": N, "seed": N,
     "started": TIME, "wall_s": S, "status": exit status, "error": text or null,
     "host": {"kernel", "cpu", "cores", "memory_mib", "kvm", "commit", "load"},
     "stats": what vmm --stats wrote, or null}
"""
import fcntl
import json
import lzma
import os

from . import outputs
from .place import told
from .plan import Bad, Cell

SCHEMA = 1


def cell_of(result):
    return Cell(result["parameters"], result["repetition"], result["seed"])


def parse(path, number, line):
    try:
        result = json.loads(line)
    except ValueError as error:
        raise Bad(f"{path}: line {number}: not JSON; this is no result file") from error
    if not isinstance(result, dict) or "schema" not in result:
        raise Bad(told(f"{path}: line {number}: no result of tools/experiment"))
    if result["schema"] != SCHEMA:
        raise Bad(f"{path}: line {number}: a result of version {result['schema']}; this tool "
                  f"knows version {SCHEMA}. Write to another file, or use the tool it came from")
    missing = [name for name in ("parameters", "repetition", "seed", "status") if name not in result]
    if missing:
        raise Bad(f"{path}: line {number}: {', '.join(missing)} missing")
    return result


def read(path):
    """All results of a file, .xz or plain. A torn last line is left out."""
    try:
        with (lzma.open if path.endswith(".xz") else open)(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise Bad(f"{path}: {error.strerror or error}") from error
    except (lzma.LZMAError, EOFError) as error:
        raise Bad(f"{path}: not readable as xz: {error}") from error
    lines = data.split(b"\n")[:-1]
    return [parse(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def encode(result):
    return json.dumps(result, separators=(",", ":"))


class ResultFile:
    """Open to append; locked, so that two runners never write the same file. What is no file (-, a
    pipe) is written to and holds no earlier results."""

    def __init__(self, path):
        self._path = path
        self.results = []
        self._stream = None
        if outputs.descriptor_of(path) is not None or \
                os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
            self._stream = outputs.Output(path)
            return
        if path.endswith(".xz"):
            raise Bad(f"{path}: results are not appended to a compressed file")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Bad(told(f"{path}: another tools/experiment is writing it")) from error
        except OSError as error:
            raise Bad(f"{path}: {error.strerror}") from error
        # Judged before anything is changed: what is not ours stays as it is.
        self.results = read(path)
        with open(path, "rb") as file:
            whole = file.read().rfind(b"\n") + 1
        os.ftruncate(self._fd, whole)

    def append(self, result):
        data = encode(result).encode() + b"\n"
        self.results.append(result)
        if self._stream:
            self._stream.write(data)
            return
        before = os.fstat(self._fd).st_size
        try:
            line = memoryview(data)
            while line:
                line = line[os.write(self._fd, line):]
            os.fsync(self._fd)
        except OSError as error:
            os.ftruncate(self._fd, before)
            raise Bad(f"{self._path}: {error.strerror}; the runs before are in it, the same command "
                      "goes on") from error

    def close(self):
        if self._stream:
            self._stream.close()
        else:
            os.close(self._fd)
