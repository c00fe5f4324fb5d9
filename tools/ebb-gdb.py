# SPDX-License-Identifier: MIT
"""Commands for gdb on a guest of ebb:

  (gdb) source tools/ebb-gdb.py
  (gdb) ebb free-lists            free blocks by order, as the buddy allocator has them
  (gdb) ebb free-lists 9 --blocks the blocks of one order, lowest address first

  (gdb) ebb program               symbols of the Linux program that the guest runs, of its dynamic
                                  linker, and of the libraries that are loaded by now; runs up to
                                  the program's first instruction before, if it has not begun
  (gdb) ebb program --root DIR    the same with files below DIR, as for the vmm
  (gdb) ebb program FILE          the same, of a program that the guest has elsewhere (--bind)
  (gdb) ebb fault                 after a fault that ends the program: its registers as they were

The guest must have made its kernel, and be stopped.
"""
import os
import struct

import gdb

PAGE_BYTES = 4096
SHOWN_BLOCKS = 64  # of `--blocks`
FRESHNESS = ("reported", "fresh")  # order of FreeBlocks::sets_; declined blocks count as reported
NEVER = 2**64 - 1


def element(array, index):
    """Of a std::array."""
    return array["_M_elems"][index]


def buddy():
    storage = gdb.parse_and_eval("'guest::(anonymous namespace)::kernel_storage'")
    kernel = storage.address.cast(gdb.lookup_type("guest::Kernel").pointer())
    if int(kernel["pages_"]["buddy_"]["frontier_"]["value"]) == 0:
        raise gdb.GdbError("the guest has not made its allocator yet")
    return kernel["pages_"]["buddy_"]


def members(tree):
    """The bits of a BitmapTree, ascending: follows the summary words, so that empty parts of a
    large set are not read."""
    top = int(tree["level_count_"]) - 1

    def below(level, index):
        word = int(element(tree["level_"], level)[index]) & NEVER
        while word:
            bit = (word & -word).bit_length() - 1
            word &= word - 1
            if level == 0:
                yield index * 64 + bit
            else:
                yield from below(level - 1, index * 64 + bit)

    yield from below(top, 0)


def size(frames):
    mib, rest = divmod(frames * PAGE_BYTES, 1 << 20)
    return f"{mib} MiB" if mib and not rest else f"{frames * PAGE_BYTES >> 10} KiB"


class Ebb(gdb.Command):
    """Looks into a guest of ebb: `ebb free-lists [ORDER] [--blocks]`."""

    def __init__(self):
        super().__init__("ebb", gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)


class FreeLists(gdb.Command):
    """Free blocks of the guest's buddy allocator: ebb free-lists [ORDER] [--blocks]."""

    def __init__(self):
        super().__init__("ebb free-lists", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        arguments = gdb.string_to_argv(argument)
        blocks = "--blocks" in arguments
        orders = [text for text in arguments if text != "--blocks"]
        if len(orders) > 1 or not all(text.isdigit() for text in orders):
            raise gdb.GdbError("ebb free-lists [ORDER] [--blocks]")
        allocator = buddy()
        base = int(allocator["tags_"]["base_"]["value"])
        sets = allocator["free_"]["sets_"]
        last = int(sets["_M_elems"].type.strip_typedefs().range()[1])
        chosen = [int(text) for text in orders] or range(last + 1)
        if any(order > last for order in chosen):
            raise gdb.GdbError(f"there are orders 0 to {last}")
        if not blocks:
            print(f"{'order':<6}{'blocks':>8}  {'bytes':>10}{'fresh':>8}{'reported':>10}")
        for order in chosen:
            trees = [list(members(element(element(sets, order), which)["blocks"]))
                     for which in range(len(FRESHNESS))]
            count = sum(len(tree) for tree in trees)
            if not blocks:
                print(f"{order:<6}{count:>8}  {size(count << order):>10}{len(trees[1]):>8}"
                      f"{len(trees[0]):>10}")
                continue
            found = sorted((bit, name) for tree, name in zip(trees, FRESHNESS) for bit in tree)
            for bit, name in found[:SHOWN_BLOCKS]:
                print(f"  {(base + (bit << order)) * PAGE_BYTES:#014x}  {size(1 << order):>8}  "
                      f"{name}")
            if count > SHOWN_BLOCKS:
                print(f"  and {count - SHOWN_BLOCKS} more")


# --- Linux programs -----------------------------------------------------------------------------

AT_ENTRY, AT_BASE = 9, 7
END_BY_FAULT = "guest::(anonymous namespace)::end_by_fault"


def words(address, count):
    data = gdb.selected_inferior().read_memory(address, 8 * count)
    return struct.unpack(f"<{count}Q", bytes(data))


def text_at(address):
    data = b""
    while b"\0" not in data:
        data += bytes(gdb.selected_inferior().read_memory(address + len(data), 1))
    return data[:-1].decode("utf-8", "surrogateescape")


def auxiliary_vector(stack):
    """Of a program at its first instruction."""
    position = stack + 8 * (words(stack, 1)[0] + 2)
    while words(position, 1)[0]:
        position += 8
    position += 8
    vector = {}
    while (entry := words(position, 2))[0]:
        vector[entry[0]] = entry[1]
        position += 16
    return vector


class ElfFile:
    """As much of a file as tells where it lies in memory."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            self.data = file.read(1 << 16)
        if self.data[:4] != b"\x7fELF":
            raise gdb.GdbError(f"{path} is no ELF file")
        self.entry, headers = struct.unpack_from("<2Q", self.data, 24)
        size, count = struct.unpack_from("<2H", self.data, 54)
        self.headers = [struct.unpack_from("<2I6Q", self.data, headers + size * index)
                        for index in range(count)]

    def interpreter(self):
        """The dynamic linker's path, or None."""
        for kind, _, offset, _, _, size, _, _ in self.headers:
            if kind == 3:  # PT_INTERP
                return self.data[offset:offset + size - 1].decode()
        return None


def program_place():
    """Path of the first process's file as the guest sees it."""
    running = gdb.parse_and_eval("'guest::(anonymous namespace)::running'")
    owners = running["system"]["processes_"]["_M_impl"]["_M_start"]  # std::unique_ptr: a pointer
    first = owners.cast(gdb.lookup_type("guest::linux::Process").pointer().pointer())
    text = first.dereference().dereference()["executable"]["_M_impl"]
    first, end = int(text["_M_start"]), int(text["_M_finish"])
    return bytes(gdb.selected_inferior().read_memory(first, end - first)).decode()


class Program(gdb.Command):
    """Symbols of the Linux program in the guest: ebb program [--root DIR] [FILE]."""

    def __init__(self):
        super().__init__("ebb program", gdb.COMMAND_DATA)
        self.vector = None
        self.file = None  # where the program's is, if not where the guest has it
        self.known = set()

    def add(self, path, base):
        if (path, base) not in self.known:
            self.known.add((path, base))
            print(f"add-symbol-file {path} -o {base:#x}")
            gdb.execute(f"add-symbol-file '{path}' -o {base:#x}", to_string=True)

    def libraries(self, root):
        """What the dynamic linker has loaded: its list for debuggers (link.h, struct r_debug)."""
        try:
            head = words(int(gdb.parse_and_eval("(long)&_r_debug")) + 8, 1)[0]
        except gdb.error:
            return
        while head:
            base, name, _, head = words(head, 4)
            path = os.path.realpath(root + text_at(name))
            if os.path.isfile(path):
                self.add(path, base)

    def invoke(self, argument, from_tty):
        arguments = gdb.string_to_argv(argument)
        root = ""
        if arguments[:1] == ["--root"] and len(arguments) > 1:
            root = arguments[1].rstrip("/")
            arguments = arguments[2:]
        if len(arguments) > 1 or "--root" in arguments:
            raise gdb.GdbError("ebb program [--root DIR] [FILE]")
        self.file = arguments[0] if arguments else self.file
        if self.vector is None:
            start = gdb.Breakpoint("program_enter", internal=True, temporary=True)
            gdb.execute("continue", to_string=True)
            if start.is_valid() and start.hit_count == 0:
                start.delete()
                raise gdb.GdbError("the guest stopped before its program began")
            entry = int(gdb.parse_and_eval("(long)$rdi"))
            self.vector = auxiliary_vector(int(gdb.parse_and_eval("(long)$rsi")))
            gdb.Breakpoint(f"*{entry:#x}", internal=True, temporary=True)
            gdb.execute("continue", to_string=True)
            gdb.Breakpoint(END_BY_FAULT, internal=True)
        path = self.file or root + program_place()
        if not os.path.isfile(path):
            raise gdb.GdbError(f"{path} is not there; ebb program FILE names the program's file")
        program = ElfFile(path)
        self.add(program.path, self.vector[AT_ENTRY] - program.entry)
        if program.interpreter():
            self.add(os.path.realpath(root + program.interpreter()), self.vector[AT_BASE])
        self.libraries(root)


class Fault(gdb.Command):
    """The program's registers where it faulted, once a fault ends it: ebb fault."""

    REGISTERS = ("r15 r14 r13 r12 r11 r10 r9 r8 rdi rsi rbp rbx rdx rcx rax rip rsp").split()

    def __init__(self):
        super().__init__("ebb fault", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        frame = gdb.newest_frame()
        if frame.name() != END_BY_FAULT:
            raise gdb.GdbError("no fault has ended the program")
        trap = frame.read_var("frame")
        values = {name: int(trap[name]) for name in self.REGISTERS}
        print(f"signal {int(frame.read_var('signal'))} at {values['rip']:#x}, "
              f"address {int(trap['cr2']):#x}")
        for name, value in values.items():
            gdb.execute(f"set ${name} = {value:#x}", to_string=True)
        gdb.execute("frame")


# KVM offers none everywhere: gdb steps and compares.
gdb.execute("set can-use-hw-watchpoints 0")

Ebb()
FreeLists()
Program()
Fault()
