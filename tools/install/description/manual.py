# SPDX-License-Identifier: MIT
"""A manual page, in roff with the macros of man(7)."""
import re

from .help_text import COMMANDS


def escaped(text):
    """Text as roff prints it; a hyphen is one that can be searched for and copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("^", "\\(ha")
    text = text.replace("~", "\\(ti").replace("'", "\\(aq")
    return re.sub(r"^(?=\.)", r"\\&", text, flags=re.MULTILINE)


def heading(text):
    return escaped(text).replace('"', "\\(dq")


def filled(lines):
    return escaped(" ".join(line.strip() for line in lines)) + "\n"


def verbatim(lines):
    shown = "\n".join(escaped(line) for line in lines)
    return f".nf\n.RS 4\n{shown}\n.RE\n.fi\n"


def paragraph(lines):
    """Lines that are indented are meant to stand as they do."""
    return verbatim(lines) if any(line.startswith("  ") for line in lines) else filled(lines)


def spelled(entry):
    names = ", ".join(rf"\fB{escaped(name)}\fR" for name in entry.names)
    return f"{names} \\fI{escaped(entry.value)}\\fR" if entry.value else names


def listed(entries):
    return "".join(f".TP\n{spelled(entry)}\n{filled([entry.text])}" for entry in entries)


def synopsis(name, usage):
    """Lines of usage, the name in bold."""
    shown = []
    for line in usage:
        first, _, rest = line.partition(" ")
        shown.append(rf"\fB{escaped(first)}\fR {escaped(rest)}".rstrip())
    return "\n.br\n".join(shown or [rf"\fB{escaped(name)}\fR"]) + "\n"


def purpose(paragraphs):
    """The first sentence, as the list of manual pages shows it."""
    text = re.split(r"(?<=[.:;]) |[.:]$", " ".join(line.strip() for line in paragraphs[0]))[0]
    text = text.rstrip(".:;")
    return text[0].lower() + text[1:]


def sections_of_options(described, level):
    parts = []
    for title, entries in described.groups:
        if title != COMMANDS:
            parts.append(f'.{level} "{heading(title[0].upper() + title[1:])}"\n{listed(entries)}')
    return "".join(parts)


def commands(described):
    parts = []
    for name, command in described.commands.items():
        parts.append(f'.SS "{heading(described.name)} {heading(name)}"\n')
        parts.append(synopsis(name, command.usage))
        parts.append("".join(f".PP\n{paragraph(lines)}" for lines in command.paragraphs))
        for _, entries in command.groups:
            parts.append(listed([entry for entry in entries if "--help" not in entry.names]))
    return f".SH COMMANDS\n{''.join(parts)}" if parts else ""


def remarks(described):
    text = ""
    for title, lines in described.remarks:
        text += f'.SH "{heading(title.upper())}"\n'
        text += filled(lines) if title == "Exit status" else verbatim(line.strip() for line in lines)
    return text


def page(described, extra, version, names):
    """`extra` comes behind what --help says; `names` are the pages that belong together."""
    name = described.name
    others = ",\n".join(rf".BR {escaped(other)} (1)" for other in names if other != name)
    others = others.replace(",\n", " ,\n") + "\n" if others else ""
    body = "".join((".PP\n" if index else "") + paragraph(lines)
                   for index, lines in enumerate(described.paragraphs))
    return (f'.\\" Made from {name} \\-\\-help; do not edit.\n'
            f'.TH {heading(name.upper())} 1 "" "{heading(version)}" "User Commands"\n'
            f".SH NAME\n{escaped(name)} \\- {escaped(purpose(described.paragraphs))}\n"
            f".SH SYNOPSIS\n{synopsis(name, described.usage)}"
            f".SH DESCRIPTION\n{body}"
            + (f".SH OPTIONS\n{sections_of_options(described, 'SS')}" if described.options else "")
            + commands(described) + remarks(described) + extra
            + (f'.SH "SEE ALSO"\n{others}' if others else ""))
