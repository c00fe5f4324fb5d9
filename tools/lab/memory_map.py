# SPDX-License-Identifier: MIT
"""The guest's memory over time, from a hypercall trace as `hvtrace export --format csv` prints it:
which state most of each stretch of addresses was in, in each slice of time."""
import csv

from .plan import Bad

PAGE = 4096
COLUMNS = 120
ROWS = 64
STATES = ("unknown", "in use", "free", "given back")
EVENTS = {"allocate": 1, "refault": 1, "free": 2, "unused": 2}
DISCARDED_HINT = 0x10  # an outcome record's detail: abi::trace_detail(hint, discarded)


def read_events(path):
    """(time, first page, pages, state) of what changes a page's state; the end of RAM and of time."""
    events, ram, last = [], 0, 0
    try:
        with open(path, newline="", encoding="utf-8", errors="replace") as file:
            rows = csv.DictReader(file)
            if not {"time_ns", "event", "address", "order", "detail"} <= set(rows.fieldnames or ()):
                raise Bad(f"{path}: no trace; make one with build/hvtrace export --format csv")
            for row in rows:
                event, time = row["event"], int(row["time_ns"])
                last = max(last, time)
                page, count = int(row["address"]) // PAGE, 1 << int(row["order"] or 0)
                if event == "boot":
                    ram = int(row["value"])
                elif event == "refault":
                    events.append((time, page, int(row["value"]) // PAGE, 1))
                elif event in EVENTS:
                    events.append((time, page, count, EVENTS[event]))
                elif event == "outcome" and int(row["detail"]) == DISCARDED_HINT:
                    events.append((time, page, count, 3))
    except OSError as error:
        raise Bad(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Bad(f"{path}: not a trace in CSV: {error}") from error
    if not events or not ram:
        raise Bad(f"{path}: no allocations, frees or discards in it; record with --trace-level all")
    return sorted(events, key=lambda event: event[0]), ram, last


def make(path):
    """Rectangles (x1, x2 in seconds, y1, y2 in MiB, state), each a run of equal slices."""
    events, _, end = read_events(path)
    first = min(event[1] for event in events)
    pages = max(event[1] + event[2] for event in events) - first
    start = events[0][0]
    span = max(end - start, 1)
    state = bytearray(pages)
    rows = [(row * pages // ROWS, (row + 1) * pages // ROWS) for row in range(ROWS)]
    rows = [(low, high) for low, high in rows if high > low]
    grid, position = [], 0
    for column in range(1, COLUMNS + 1):
        until = start + span * column // COLUMNS
        while position < len(events) and events[position][0] <= until:
            _, page, count, new = events[position]
            state[page - first:page - first + count] = bytes((new,)) * count
            position += 1
        grid.append([max(range(len(STATES)), key=state[low:high].count) for low, high in rows])
    rectangles = []
    for row, (low, high) in enumerate(rows):
        begin = 0
        for column in range(1, COLUMNS + 1):
            if column == COLUMNS or grid[column][row] != grid[begin][row]:
                if grid[begin][row]:
                    rectangles.append([round(span * begin / COLUMNS / 1e9, 4),
                                       round(span * column / COLUMNS / 1e9, 4),
                                       round((first + low) * PAGE / 2**20, 3),
                                       round((first + high) * PAGE / 2**20, 3), grid[begin][row]])
                begin = column
    shares = []
    for column in range(9, COLUMNS, 10):
        counts = [grid[column].count(number) / len(rows) for number in range(len(STATES))]
        shares.append([round(span * (column + 1) / COLUMNS / 1e9, 3), counts])
    return {"states": STATES, "rectangles": rectangles, "shares": shares,
            "seconds": span / 1e9, "mib": [first * PAGE / 2**20, (first + pages) * PAGE / 2**20]}
