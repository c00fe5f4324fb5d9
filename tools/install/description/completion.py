# SPDX-License-Identifier: MIT
"""Completion for bash and zsh: options, the values of those that list them, files and folders, commands,
and behind `--` the program that runs in the guest."""
import re

# What a value is, by the word that stands for it in --help.
FILES = re.compile(r"^(FILE|PATH|IMAGE|TRACE|OTHER|RESULTS|TEXT$|INPUT|OUTPUT|DEVICE)")
FOLDERS = re.compile(r"^(DIR|HOST\[:GUEST\])")
# Values that only the program itself knows: option, and what lists them, one at the beginning of a line.
ASKED = {"--workload": "vmm --list-workloads 2>/dev/null"}


def kind(entry):
    """none, flag, choices, asked, folders or files."""
    if not entry.value:
        return "flag"
    if entry.choices:
        return "choices"
    if entry.names[-1] in ASKED:
        return "asked"
    if FOLDERS.match(entry.value):
        return "folders"
    return "files" if FILES.match(entry.value) else "none"


def sets(described):
    """(command or "", Help) for the program and each of its commands."""
    return [("", described), *described.commands.items()]


def function_name(name):
    return "_" + re.sub(r"\W", "_", name)


# --- bash ---

def bash_values(entry):
    """What a `case` does for the word behind an option."""
    action = {"choices": f"mapfile -t COMPREPLY < <(compgen -W '{' '.join(entry.choices)}' -- \"$cur\")",
              "folders": "compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")",
              "files": "compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")",
              "none": ":"}
    if kind(entry) == "asked":
        return (f"mapfile -t COMPREPLY < <(compgen -W \"$({ASKED[entry.names[-1]]} | cut -d' ' -f1)\" "
                f"-- \"$cur\")")
    return action[kind(entry)]


def bash_set(command, described):
    cases = "".join(f"      {'|'.join(entry.names)}) {bash_values(entry)}; return ;;\n"
                    for entry in described.options if kind(entry) != "flag")
    words = [name for entry in described.options for name in entry.names]
    named = [*described.commands] or described.requests
    rest = (f"mapfile -t COMPREPLY < <(compgen -W '{' '.join(named)}' -- \"$cur\")"
            if named else
            "compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")")
    return (f"  {command or chr(39) * 2})\n"
            + (f"    case $prev in\n{cases}    esac\n" if cases else "")
            + f"    if [[ $cur == -* ]]; then\n"
              f"      mapfile -t COMPREPLY < <(compgen -W '{' '.join(words)}' -- \"$cur\")\n"
              f"    else\n      {rest}\n    fi ;;\n")


def bash(described):
    behind = ""
    if described.runs_program:
        behind = ("    if [[ ${COMP_WORDS[index]} == -- ]]; then\n"
                  "      if declare -F _command_offset >/dev/null; then _command_offset $((index + 1)); fi\n"
                  "      return\n    fi\n")
    if described.commands:
        names = "|".join(described.commands)
        behind += f"    case ${{COMP_WORDS[index]}} in {names}) command=${{COMP_WORDS[index]}}; break ;; esac\n"
    name = function_name(described.name)
    return (f"# Completion of {described.name} for bash. Made from {described.name} --help; do not edit.\n"
            f"{name}() {{\n"
            "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' index\n"
            "  COMPREPLY=()\n"
            + (f"  for ((index = 1; index < COMP_CWORD; index++)); do\n{behind}  done\n" if behind else "")
            + "  case $command in\n"
            + "".join(bash_set(command, part) for command, part in sets(described))
            + f"  esac\n}}\ncomplete -F {name} {described.name}\n")


# --- zsh ---

def zsh_text(text):
    """Within a specification that stands in single quotes."""
    return re.sub(r"([\[\]:\\])", r"\\\1", text).replace("'", "'\\''")


def zsh_values(entry):
    action = {"choices": f"({' '.join(entry.choices)})", "folders": "_files -/", "files": "_files",
              "none": " "}
    if kind(entry) == "asked":
        return f"_ebb_asked {ASKED[entry.names[-1]].replace(' 2>/dev/null', '')}"
    return action[kind(entry)]


def zsh_option(entry):
    specs = []
    for name in entry.names:
        again = "*" if entry.repeats else "(" + " ".join(entry.names) + ")"
        text = f"[{zsh_text(entry.text)}]" if entry.text else ""
        value = ""
        if entry.value:
            value = f":{zsh_text(entry.value.removesuffix(' ...'))}:{zsh_values(entry)}"
        joint = "=" if entry.value and name.startswith("--") else ""
        specs.append(f"'{again}{name}{joint}{text}{value}'")
    return specs


def zsh_set(described):
    specs = [spec for entry in described.options for spec in zsh_option(entry)]
    rest = [f"'1: :({' '.join(described.requests)})'", "'*: : '"] if described.requests else ["'*: :_files'"]
    return " \\\n    ".join(["_arguments -S", *specs, *rest])


def zsh(described):
    text = (f"#compdef {described.name}\n"
            f"# Completion of {described.name} for zsh. Made from {described.name} --help; do not edit.\n")
    if any(kind(entry) == "asked" for entry in described.options):
        text += ("_ebb_asked() {\n  local -a values\n"
                 "  values=(${${(f)\"$(_call_program values \"$@\" 2>/dev/null)\"}%% *})\n"
                 "  compadd -a values\n}\n")
    if described.runs_program:
        text += ("local mark=${words[(i)--]}\n"
                 "if (( mark < CURRENT )); then\n"
                 "  words=(\"${(@)words[mark + 1,-1]}\")\n  (( CURRENT -= mark ))\n  _normal\n  return\nfi\n")
    if not described.commands:
        return text + zsh_set(described) + "\n"
    specs = [spec for entry in described.options for spec in zsh_option(entry)]
    named = [f"'{name}:{zsh_text(' '.join(part.paragraphs[0]))}'"
             for name, part in described.commands.items()]
    text += ("local curcontext=$curcontext state line\nlocal -a commands\n"
             "commands=(\n  " + "\n  ".join(named) + "\n)\n"
             + " \\\n  ".join(["_arguments -C -S", *specs, "'1: :->command'", "'*:: :->rest'"]) + "\n"
             "case $state in\ncommand) _describe command commands ;;\nrest)\n  case $words[1] in\n")
    for name, part in described.commands.items():
        text += f"  {name})\n    {zsh_set(part)} ;;\n"
    return text + "  esac ;;\nesac\n"
