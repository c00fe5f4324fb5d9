# SPDX-License-Identifier: MIT
"""The command line of a tool or a test runner. Whatever is wrong with it is told in one line, as the vmm
tells it, and ends the tool with status 2 before it has done anything."""
import argparse
import math
import os
import sys

HIDDEN = argparse.SUPPRESS  # as usage: the text has it; as help: not for users


class Parser(argparse.ArgumentParser):
    """Takes a tool's whole text for its help."""

    def __init__(self, text, **options):
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(description=text, **options)

    def error(self, message):
        """What is wrong with what was typed; ends the process."""
        told = message.removeprefix("argument ").replace("\n", "\\n")
        print(f"{self.prog}: {told}; see {os.path.basename(sys.argv[0])} --help", file=sys.stderr)
        sys.exit(2)


def _checked(kind, what, is_good):
    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not is_good(value):
            raise argparse.ArgumentTypeError(f'"{text}": must be {what}')
        return value
    return read


def _finite(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def whole_number(least=0, most=None):
    """For add_argument(type=...): a whole number, `least` and `most` among what is taken."""
    limits = f"at least {least}" if most is None else f"from {least} to {most}"
    return _checked(int, f"a whole number, {limits}",
                    lambda value: least <= value and (most is None or value <= most))


def number(least=0.0):
    """For add_argument(type=...): a number, `least` among what is taken."""
    return _checked(_finite, f"a number of at least {least:g}", lambda value: value >= least)


def positive(unit):
    """For add_argument(type=...): a number of `unit` above 0."""
    return _checked(_finite, f"a number of {unit} above 0", lambda value: value > 0)
