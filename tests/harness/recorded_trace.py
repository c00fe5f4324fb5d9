# SPDX-License-Identifier: MIT
"""What hvtrace has to say of the trace of a run, and of that trace with a record changed."""
import array
import os
import random
import struct
import subprocess

from .boot_case import write
from .suite import ROOT


def trace_offences(section, directory, build):
    """Everything that hvtrace has to say against the trace of a run."""
    hvtrace = os.path.join(build, "hvtrace")
    trace = os.path.join(directory, "run.trace")
    checked = subprocess.run([hvtrace, "check", trace], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, check=False)
    if checked.returncode != 0:
        yield f"hvtrace check: status {checked.returncode}: {checked.stdout.strip()}"
    killed = section.get("signal", "").startswith("SIGKILL")
    if ("incomplete at the end" in checked.stdout) != killed:
        yield f"hvtrace check, of a {'killed' if killed else 'whole'} run: {checked.stdout.strip()}"
    if "not checked" in checked.stdout and not killed:
        yield f"hvtrace check left something out: {checked.stdout.strip()}"
    exported = subprocess.run([hvtrace, "export", "--format", "perfetto", trace],
                              stdout=subprocess.PIPE, check=False)
    decoded = subprocess.run(
        ["protoc", "--proto_path", ROOT, "--decode=perfetto.protos.Trace",
         os.path.join(ROOT, "tools", "hvtrace", "perfetto.proto")],
        input=exported.stdout, stdout=subprocess.PIPE, check=False)
    if exported.returncode != 0 or decoded.returncode != 0 or b"track_event" not in decoded.stdout:
        yield "protoc cannot decode what hvtrace exports"


# Events of a batch's life, in order; without any one of them, with one twice or two of one batch in
# the wrong order the protocol was broken. tests/unit/tools/hvtrace/trace_mutation_test.cpp has all kinds, and says
# which changes do no harm.
TRACE_EVENTS = {32: "submit", 4: "batch", 5: "range", 6: "discard_begin", 7: "discard_end",
                8: "outcome", 9: "answer", 33: "drain"}
RECORD = struct.Struct("<QQQQIBBBB")  # sequence, time, address, value, count, event, channel, ...
CLAIMED_OFFSET = 704  # of abi::TraceHeader


def mutated(data, header_bytes, verb, first, second):
    """A trace with record `first` removed or doubled, or swapped with `second`; sequences count on
    as if nothing had happened."""
    records = bytearray(data[header_bytes:])
    size = RECORD.size
    one = records[first * size:(first + 1) * size]
    if verb == "remove":
        del records[first * size:(first + 1) * size]
    elif verb == "double":
        records[first * size:first * size] = one
    else:
        records[first * size:(first + 1) * size] = records[second * size:(second + 1) * size]
        records[second * size:(second + 1) * size] = one
    count = len(records) // size
    memoryview(records).cast("Q")[::size // 8] = memoryview(array.array("Q", range(1, count + 1)))
    header = bytearray(data[:header_bytes])
    struct.pack_into("<Q", header, CLAIMED_OFFSET, count)
    return bytes(header) + bytes(records)


def mutation_offences(section, directory, build):
    """Harmful changes of a recorded trace that hvtrace check lets pass."""
    wanted = section.getint("mutations", 0)
    if not wanted:
        return
    with open(os.path.join(directory, "run.trace"), "rb") as file:
        data = file.read()
    header_bytes = struct.unpack_from("<I", data, 12)[0]
    parsed = list(RECORD.iter_unpack(data[header_bytes:]))
    # What is still open when the workload ends may stay so.
    end = next(index for index, record in enumerate(parsed) if record[5] == 19)
    of_kind = {event: [index for index in range(end) if parsed[index][5] == event]
               for event in TRACE_EVENTS}
    rng = random.Random(1)
    path = os.path.join(directory, "mutated.trace")
    for number in range(wanted):
        event = list(TRACE_EVENTS)[number % len(TRACE_EVENTS)]
        verb = ("remove", "double", "swap")[number // len(TRACE_EVENTS) % 3]
        first = rng.choice(of_kind[event])
        second = next((index for index in range(first + 1, end)
                       if parsed[index][5] in TRACE_EVENTS and
                       parsed[index][3] == parsed[first][3] and
                       parsed[index][6] == parsed[first][6]), None)
        if verb == "swap" and second is None:
            verb = "remove"  # the last one of its batch
        write(directory, "mutated.trace", mutated(data, header_bytes, verb, first, second))
        checked = subprocess.run([os.path.join(build, "hvtrace"), "check", path],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 check=False)
        if checked.returncode != 1:
            yield (f"hvtrace check, after {verb} of record {first + 1} ({TRACE_EVENTS[event]}): "
                   f"status {checked.returncode}: {checked.stdout.strip()}")
