# SPDX-License-Identifier: MIT
"""Commands for gdb on a guest of ebb:

  (gdb) source tools/ebb-gdb.py
  (gdb) ebb free-lists            free blocks by order, as the buddy allocator has them
  (gdb) ebb free-lists 9 --blocks the blocks of one order, lowest address first

The guest must have made its kernel, and be stopped.
"""
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


Ebb()
FreeLists()
