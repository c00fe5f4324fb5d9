# SPDX-License-Identifier: MIT
"""A program's --help, taken apart: as CLI11 and Python's argparse write it, or plain text."""
import os
import re
import subprocess
from dataclasses import dataclass, field

OPTION_NAME = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
TIMEOUT_S = 30


class Unreadable(Exception):
    """A program whose help cannot be had, in one line."""


@dataclass
class Entry:
    """An option, a positional or a command."""
    names: list  # of an option with their dashes; else one
    value: str   # what follows, as it is written; empty: nothing
    text: str    # what is said of it

    @property
    def is_option(self):
        return self.names[0].startswith("-")

    @property
    def repeats(self):
        return self.value.endswith("...")

    @property
    def choices(self):
        """The values that there are; empty: any."""
        listed = re.search(r"\{([^{}]+)\}", self.value)
        if listed:
            return listed[1].split(",")
        word = self.value.removesuffix(" ...")
        return word.split("|") if re.fullmatch(r"[a-z0-9.-]+(\|[a-z0-9.-]+)+", word) else []


@dataclass
class Help:
    name: str
    usage: list = field(default_factory=list)       # lines
    paragraphs: list = field(default_factory=list)  # lists of lines, but for the following
    remarks: list = field(default_factory=list)     # (title, lines): what begins "Exit status:" and such
    groups: list = field(default_factory=list)      # (title, [Entry])
    commands: dict = field(default_factory=dict)    # name: Help

    @property
    def options(self):
        return [entry for _, entries in self.groups for entry in entries if entry.is_option]

    @property
    def positionals(self):
        return [entry for title, entries in self.groups for entry in entries
                if not entry.is_option and title not in (COMMANDS, REQUESTS)]

    @property
    def requests(self):
        """The words that the first positional may be; empty: any."""
        requests = list(dict.fromkeys(entry.names[0] for title, entries in self.groups if title == REQUESTS
                                      for entry in entries))
        return requests or (self.positionals[0].choices if self.positionals else [])

    @property
    def runs_program(self):
        return any("-- PROGRAM" in line or "-- COMMAND" in line
                   for line in [*self.usage, *(title for title, _ in self.groups)])


COMMANDS = "Subcommands"
REQUESTS = "Requests"  # each may stand there more than once, with other arguments
REMARK = re.compile(r"(Exit status|Example): +(.*)")


def entry_of(line, title):
    """An entry's first line: what it is called, then what is said of it, two blanks apart."""
    spelled, _, text = line.strip().partition("  ")
    if title == REQUESTS:
        name, _, arguments = spelled.partition(" ")
        return Entry([name], arguments, text.strip())
    words = re.sub(r"\bREQUIRED\b", "", spelled).strip()
    if not words.startswith("-"):
        # CLI11 says the type behind a positional's name, and its values if there are only some.
        listed = re.search(r"\{[^{}]+\}", words)
        return Entry([words.split()[0]], listed[0] if listed else "", text.strip())
    names = OPTION_NAME.findall(words)
    value = re.sub(r"^(?:--?[A-Za-z][\w-]*,? ?)+", "", words)
    if "," in words and not value.startswith("{"):  # argparse: -o FILE, --output FILE
        value = re.sub(r".*--?[A-Za-z][\w-]* ?", "", words)
        if re.fullmatch(r"(?:--?[A-Za-z][\w-]*,? ?)+", words):
            value = ""
    value = re.sub(r"^TEXT:", "", value)
    return Entry(names, value, text.strip())


def parse(name, text):
    found = Help(name)
    lines = text.splitlines()
    index = 0
    while index < len(lines):
        line = lines[index]
        following = lines[index + 1] if index + 1 < len(lines) else ""
        remark = REMARK.match(line)
        if not line.strip():
            index += 1
        elif re.fullmatch(r"\S.*:", line) and re.match(r"  \S", following):
            entries = []
            index += 1
            while index < len(lines) and lines[index].startswith("  "):
                if re.match(r" {10}", lines[index]) and entries:
                    entries[-1].text = f"{entries[-1].text} {lines[index].strip()}".strip()
                else:
                    entries.append(entry_of(lines[index], line[:-1]))
                index += 1
            found.groups.append((line[:-1], entries))
        elif line.startswith("Usage: "):
            found.usage.append(line.removeprefix("Usage: ").strip())
            index += 1
            while index < len(lines) and lines[index].startswith("       "):
                found.usage.append(lines[index].strip())
                index += 1
        else:
            piece = [remark[2] if remark else line]
            index += 1
            while index < len(lines) and lines[index].strip() and not REMARK.match(lines[index]) \
                    and not lines[index].startswith("Usage: "):
                piece.append(lines[index])
                index += 1
            if remark:
                found.remarks.append((remark[1], piece))
            else:
                found.paragraphs.append(piece)
    return found


def ask(program, *words):
    try:
        ended = subprocess.run([program, *words, "--help"], stdin=subprocess.DEVNULL, text=True,
                               capture_output=True, check=False, timeout=TIMEOUT_S,
                               # Lines as long as they are, in the language that they are written in.
                               env={**os.environ, "COLUMNS": "10000", "LC_ALL": "C.UTF-8"})
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreadable(f"{program}: cannot be asked for its help: {error}") from error
    if ended.returncode != 0 or not ended.stdout.strip():
        raise Unreadable(f"{program}: --help ended with status {ended.returncode}")
    return ended.stdout


def read(program):
    """The help of a program and of its commands."""
    name = os.path.basename(program)
    found = parse(name, ask(program))
    if not found.paragraphs or not found.usage:
        raise Unreadable(f"{program}: --help says not what it is for, or how it is called")
    for title, entries in found.groups:
        if title == COMMANDS:
            for entry in entries:
                found.commands[entry.names[0]] = parse(name, ask(program, entry.names[0]))
    return found
