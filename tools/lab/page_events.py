# SPDX-License-Identifier: MIT
"""From the kernel's page-allocator events, as text of tracefs' trace_pipe, to a page trace
(shared/page_trace.hpp).

A block of the page trace is allocated once and freed at most once. The kernel is not so tidy: a huge
page is split and freed page by page (its block ends with its last page), neighbours are freed as one
(each ends), pages are freed that were allocated before the recording (dropped), and every batched
free shows up twice, as mm_page_free and mm_page_free_batched (the second one finds nothing)."""
import re
import struct

MAGIC = b"PGTRACE1"
HEAD = struct.Struct("<8sII")  # magic, events, most 4 KiB pages allocated at a time
EVENT = struct.Struct("<Q")
FREE = 1 << 63
MAX_ORDER = 10
LONGEST_US = (1 << 24) - 1
MOST_EVENTS = (1 << 32) - 1
LINE = re.compile(rb"\s(\d+)\.(\d{6}): mm_page_(alloc|free|free_batched): .*?"
                  rb"pfn=(0x[0-9a-f]+|\d+) order=(\d+)")
LOST = re.compile(rb"\[LOST (\d+) EVENTS\]")
CHUNK = 1 << 16


class Decoder:
    """Feed it lines; it writes events to `file`, which finish() completes with the header."""

    def __init__(self, file):
        self._file = file
        self._file.write(HEAD.pack(MAGIC, 0, 0))
        self._buffer = bytearray()
        self._heads = {}   # first page of a live block -> [id, order, pages left]
        self._inside = {}  # further pages of live blocks of order > 0 -> first page
        self._next_id = 0
        self._last_us = None
        self._first_us = None
        self.events = self.live_pages = self.peak_pages = 0
        self.lost = self.unknown_frees = self.missed_frees = self.failed = self.unreadable = 0
        self.by_order = [0] * (MAX_ORDER + 1)

    @property
    def seconds(self):
        return 0 if self._first_us is None else (self._last_us - self._first_us) / 1e6

    def line(self, text):
        match = LINE.search(text)
        if match is None:
            lost = LOST.search(text)
            if lost:
                self.lost += int(lost[1])
            elif text.strip() and not text.lstrip().startswith(b"#"):
                self.unreadable += 1
            return
        at_us = int(match[1]) * 1_000_000 + int(match[2])
        pfn, order = int(match[4], 0), int(match[5])
        if match[3] == b"alloc":
            # Page 0 stands for an allocation that failed.
            if pfn == 0 or order > MAX_ORDER:
                self.failed += 1
            else:
                self._allocate(at_us, pfn, order)
        else:
            self._free(at_us, pfn, min(order, MAX_ORDER))

    def _emit(self, at_us, bits, pages):
        if self.events == MOST_EVENTS:
            raise OverflowError("more events than a page trace can hold")
        if self._last_us is None:
            self._first_us = self._last_us = at_us
        # Clocks of two CPUs may differ a little: time never goes back.
        wait = min(max(at_us - self._last_us, 0), LONGEST_US)
        self._last_us = max(self._last_us, at_us)
        self._buffer += EVENT.pack(bits | wait << 32)
        self.events += 1
        self.live_pages += pages
        self.peak_pages = max(self.peak_pages, self.live_pages)
        if len(self._buffer) >= CHUNK:
            self._flush()

    def _flush(self):
        self._file.write(self._buffer)
        self._buffer.clear()

    def _allocate(self, at_us, pfn, order):
        for page in range(pfn, pfn + (1 << order)):
            if page in self._heads or page in self._inside:
                # Its free was not seen: by the recorder itself, or lost.
                self.missed_frees += 1
                self._end(at_us, self._inside.get(page, page))
        self._heads[pfn] = [self._next_id, order, 1 << order]
        for page in range(pfn + 1, pfn + (1 << order)):
            self._inside[page] = pfn
        self._emit(at_us, order << 56 | self._next_id, 1 << order)
        self.by_order[order] += 1
        self._next_id += 1

    def _end(self, at_us, head):
        number, order, _ = self._heads.pop(head)
        for page in range(head + 1, head + (1 << order)):
            self._inside.pop(page, None)
        self._emit(at_us, FREE | order << 56 | number, -(1 << order))

    def _free(self, at_us, pfn, order):
        found = False
        page, end = pfn, pfn + (1 << order)
        while page < end:
            head = page if page in self._heads else self._inside.get(page)
            if head is None:
                page += 1
                continue
            found = True
            block = self._heads[head]
            until = min(end, head + (1 << block[1]))
            block[2] -= until - page
            if page == head and until == head + (1 << block[1]) or block[2] <= 0:
                self._end(at_us, head)
            page = until
        self.unknown_frees += not found

    def finish(self):
        self._flush()
        self._file.seek(0)
        self._file.write(HEAD.pack(MAGIC, self.events, self.peak_pages))

    def summary(self):
        mib = 4096 / 2**20
        lines = [f"{self.events:,} events in {self.seconds:.1f} s, {self._next_id:,} blocks, peak "
                 f"{self.peak_pages * mib:.0f} MiB live, {self.live_pages * mib:.0f} MiB at the end",
                 "blocks by order: " + ", ".join(f"{order}: {count:,}" for order, count in
                                                 enumerate(self.by_order) if count)]
        if self.missed_frees:
            lines.append(f"{self.missed_frees:,} pages were allocated again without a free in sight")
        if self.unreadable:
            lines.append(f"{self.unreadable:,} lines could not be read")
        return lines
