# SPDX-License-Identifier: MIT
"""How far an experiment is, and how long it will take: on a terminal one line that is redrawn,
elsewhere a line a run."""
import statistics
import sys
import time

# What decides how long a run takes; the rest changes it little.
SLOW = ("workload", "trace", "speed", "backing")


def clock(seconds):
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def kind(parameters):
    return tuple(str(parameters.get(name)) for name in SLOW)


class Progress:
    def __init__(self, cells, earlier, jobs=1, stream=sys.stderr):
        self._open = {cell.key: cell for cell in cells}
        self._total = len(cells)
        self._jobs = jobs
        self._stream = stream
        self._start = time.monotonic()
        self._walls = {}
        for result in earlier:
            self._count(result)

    def _count(self, result):
        self._walls.setdefault(kind(result["parameters"]), []).append(result.get("wall_s") or 0)

    def remaining_s(self):
        """Empty until a run has finished. Runs of a kind not yet seen count as the average one."""
        if not self._walls:
            return None
        means = {name: statistics.fmean(walls) for name, walls in self._walls.items()}
        average = statistics.fmean(means.values())
        total = sum(means.get(kind(cell.parameters), average) for cell in self._open.values())
        return total / self._jobs

    def done(self, cell, result):
        self._open.pop(cell.key, None)
        self._count(result)
        left = self.remaining_s()
        count = self._total - len(self._open)
        text = (f"[{count}/{self._total}] {clock(time.monotonic() - self._start)}, "
                f"{clock(left)} left: {cell.label()} ({result['wall_s']:.1f} s)")
        if result["status"] != 0:
            text += f" FAILED, status {result['status']}: {result['error']}"
        if self._stream.isatty() and result["status"] == 0:
            self._stream.write("\r\x1b[K" + text[:110])
        else:
            self._stream.write(("\r\x1b[K" if self._stream.isatty() else "") + text + "\n")
        self._stream.flush()

    def close(self):
        if self._stream.isatty():
            self._stream.write("\n")
