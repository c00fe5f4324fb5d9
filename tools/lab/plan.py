# SPDX-License-Identifier: MIT
"""From a declarative file to the cells of an experiment, in the order in which they are to run.

    name = "hot-spot"
    repetitions = 3        # each repetition runs every cell once, in an order of its own
    seed = 1               # of these orders, and of the guests
    timeout = 300          # seconds a run may take
    series = 64            # points of memory over time that a result keeps

    [common]               # one value each, for all grids
    mem = "2G"

    [[grid]]               # lists: their product; several grids: all of them
    trace = ["cxx", "sqlite"]
    order = [0, 3, 9]
    arg.size = ["256M"]    # parameters of the workload
"""
import itertools
import json
import os
import random
import re
import tomllib
from dataclasses import dataclass

from .place import IS_INSTALLED, ROOT, TRACES


class Bad(Exception):
    """A mistake of the user's, in one line."""


@dataclass(frozen=True)
class Within:
    low: int
    high: int
    also: tuple = ()

    def complaint(self, value):
        if value in self.also and isinstance(value, str):
            return None
        if isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high:
            return None
        return " or ".join([f"a whole number from {self.low} to {self.high}",
                            *(f'"{word}"' for word in self.also)])


@dataclass(frozen=True)
class OneOf:
    words: tuple

    def complaint(self, value):
        return None if value in self.words else "one of " + ", ".join(self.words)


@dataclass(frozen=True)
class Text:
    """What the vmm itself judges: sizes, times, names."""
    numbers: bool = False

    def complaint(self, value):
        if isinstance(value, str) and value:
            return None
        if self.numbers and isinstance(value, (int, float)) and not isinstance(value, bool):
            return None
        return "a number or a text" if self.numbers else "a text"


PARAMETERS = {
    # Who is measured: this tree's guest, or Linux with its free page reporting (lab/linux_peer.py).
    "peer": OneOf(("ebb", "linux")),
    "guest_thp": OneOf(("on", "off")),  # transparent huge pages of Linux, in the guest
    # The policy: --report.
    "report": OneOf(("on", "off")),
    "order": Within(0, 10, ("auto",)),
    "batch": Within(1, 512),
    "delay": Text(numbers=True),
    "keep": Text(numbers=True),
    "timeout": Text(numbers=True),
    "strategy": OneOf(("batch", "each", "scan", "decay", "adaptive")),
    # The host.
    "host": OneOf(("sync", "async", "poll")),
    "workers": Within(1, 8),
    "host_fault": Text(),
    "transport": OneOf(("pio", "vmcall")),
    "backing": OneOf(("thp", "4k", "memfd", "hugetlb")),
    "discard": OneOf(("dontneed", "free", "none")),
    "decline_below": Within(0, 10),
    "memory_price": Text(numbers=True),
    "prefault": Text(numbers=True),
    # The guest.
    "mem": Text(),
    "cpus": Within(1, 16),
    "workload": Text(),
    "trace": Text(),
    "speed": OneOf(("max", "real")),
    "sample_ms": Within(1, 10000),
}
POLICY = ("order", "batch", "delay", "keep", "timeout", "strategy")
SETTINGS = {"name": Text(), "repetitions": Within(1, 10000), "seed": Within(0, 2**63 - 1),
            "timeout": Within(1, 10**6), "series": Within(0, 512)}


@dataclass(frozen=True)
class Cell:
    """One run. Equal cells have equal keys, whatever file they come from."""
    parameters: dict
    repetition: int
    seed: int

    @property
    def key(self):
        return json.dumps([self.parameters, self.repetition, self.seed], sort_keys=True)

    def label(self):
        return " ".join(f"{name}={os.path.basename(str(value))}"
                        for name, value in self.parameters.items() if value != "replay")


@dataclass(frozen=True)
class Plan:
    name: str
    timeout: int
    series: int
    cells: list


def check(where, name, value, known):
    rule = known.get(name)
    if rule is None:
        raise Bad(f"{where}: {name}: no such parameter; there are {', '.join(known)}")
    complaint = rule.complaint(value)
    if complaint:
        raise Bad(f"{where}: {name} = {json.dumps(value)}: must be {complaint}")


def flatten(where, table):
    """name -> value, with the workload's parameters as "arg.NAME"."""
    flat = {}
    for name, value in table.items():
        if name == "arg" and isinstance(value, dict):
            flat.update({f"arg.{key}": item for key, item in value.items()})
        elif isinstance(value, dict):
            raise Bad(f"{where}: {name}: no such table")
        else:
            flat[name] = value
    return flat


def check_value(where, name, value):
    if name.startswith("arg."):
        if not isinstance(value, (str, int, float)) or value == "":
            raise Bad(f"{where}: {name} = {json.dumps(value)}: must be a number or a text")
    else:
        check(where, name, value, PARAMETERS)
    if name == "trace" and not os.path.isfile(trace_path(value)):
        raise Bad(f"{where}: trace = {json.dumps(value)}: no such file {trace_path(value)}")


def seconds_of(text):
    """A duration as the vmm takes it: 10s, 200ms."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ns|us|ms|s)", str(text))
    if not found:
        raise Bad(f"{text}: must be a duration such as 10s")
    return float(found[1]) * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}[found[2]]


def check_peer(where, point):
    """What Linux can be asked for: to replay a trace in recorded time."""
    if point.get("peer") != "linux":
        if "guest_thp" in point:
            raise Bad(f'{where}: guest_thp: only with peer = "linux"')
        return
    if "trace" not in point or point.get("speed") != "real":
        raise Bad(f'{where}: peer = "linux": needs a trace, and speed = "real"')
    known = ("peer", "guest_thp", "report", "order", "mem", "workload", "trace", "speed", "arg.rest")
    other = [name for name in point if name not in known]
    if other:
        raise Bad(f'{where}: {other[0]}: means nothing with peer = "linux"')
    if point.get("order") == "auto":
        raise Bad(f'{where}: order = "auto": Linux has none')
    try:
        seconds_of(point.get("arg.rest", "0s"))
    except Bad as error:
        raise Bad(f"{where}: arg.rest: {error}") from error
    if not re.fullmatch(r"[1-9]\d{0,5}[MG]", point.get("mem", "2G")):
        raise Bad(f'{where}: mem = {json.dumps(point["mem"])}: must be a size such as 512M or 2G')


def trace_path(trace):
    """A bare name is a shipped trace; other paths are relative to the repository, or to where an
    installed tool was started."""
    if "/" not in trace and "." not in trace:
        return os.path.join(ROOT, TRACES, f"{trace}.pgt.xz")
    return os.path.abspath(trace) if IS_INSTALLED else os.path.join(ROOT, trace)


def normal(parameters):
    """Without what has no meaning beside the rest, so that equal runs are one cell."""
    kept = dict(parameters)
    if kept.get("report") == "off":
        for name in POLICY:
            kept.pop(name, None)
    elif kept.get("report") == "on":
        del kept["report"]
    if kept.get("order") == "auto":
        for name in ("batch", "keep", "delay"):
            kept.pop(name, None)
    if kept.get("host", "sync") == "sync":
        kept.pop("workers", None)
    if "trace" in kept:
        kept.setdefault("workload", "replay")
    return {name: kept[name] for name in sorted(kept, key=rank)}


def rank(name):
    names = list(PARAMETERS)
    return (names.index(name) if name in names else len(names), name)


def grid_points(where, common, grid):
    lists = {}
    for name, values in grid.items():
        values = values if isinstance(values, list) else [values]
        if not values:
            raise Bad(f"{where}: {name} = []: an empty list gives an empty grid")
        for value in values:
            check_value(where, name, value)
        lists[name] = values
    for point in itertools.product(*lists.values()):
        whole = normal({**common, **dict(zip(lists, point))})
        check_peer(where, whole)
        yield whole


def load(path, data=None):
    """The plan in the file. Raises Bad."""
    try:
        if data is None:
            with open(path, "rb") as file:
                data = tomllib.load(file)
    except OSError as error:
        raise Bad(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Bad(f"{path}: not TOML: {error}") from error
    grids = data.pop("grid", [])
    common = data.pop("common", {})
    for name, value in data.items():
        check(path, name, value, SETTINGS)
    if not isinstance(common, dict):
        raise Bad(f"{path}: common: must be a table, [common]")
    if not isinstance(grids, list) or not all(isinstance(grid, dict) for grid in grids):
        raise Bad(f"{path}: grid: must be a list of tables, [[grid]]")
    common = flatten(f"{path}: [common]", common)
    for name, value in common.items():
        check_value(f"{path}: [common]", name, value)
    points = {}
    for index, grid in enumerate(grids, 1):
        where = f"{path}: [[grid]] {index}"
        for point in grid_points(where, common, flatten(where, grid)):
            points.setdefault(json.dumps(point, sort_keys=True), point)
    if not points:
        raise Bad(f"{path}: an empty grid: there is no [[grid]] with parameters")
    seed = data.get("seed", 1)
    cells = []
    for repetition in range(data.get("repetitions", 1)):
        order = list(points.values())
        random.Random(f"{seed}/{repetition}").shuffle(order)
        cells += [Cell(point, repetition, seed + repetition) for point in order]
    default = os.path.splitext(os.path.basename(path))[0]
    return Plan(data.get("name", default), data.get("timeout", 600), data.get("series", 128), cells)
