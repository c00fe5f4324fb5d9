# SPDX-License-Identifier: MIT
"""A case of a cases.cfg (the head of tests/boot/cases.cfg explains the keys): its files, its command
line, and the variants that are made of it."""
import configparser
import os
import re
import shlex
import signal
import struct
import subprocess

from .suite import ROOT

KEYS = {"image", "args", "needs", "status", "stdout", "stderr", "not", "json", "timeout", "damage",
        "trace", "damage-trace", "signal", "record", "cut", "via", "hosts", "limits", "reader", "fail",
        "stdin", "mutations", "oracle", "tries"}
DEFAULT_TIMEOUT_S = 60


class CaseError(Exception):
    """The case itself is wrong, or cannot be prepared."""


def damage(data, steps):
    """Applies lines such as "truncate -1", "flip 40", "append 3", "set16 8 99" to bytes."""
    data = bytearray(data)
    for step in steps:
        verb, *numbers = step.split()
        try:
            numbers = [int(number, 0) for number in numbers]
            if verb == "truncate":  # to that length; negative: that many bytes off the end
                del data[numbers[0]:]
            elif verb == "flip":  # all bits of the byte at an offset
                data[numbers[0]] ^= 0xFF
            elif verb == "append":  # that many zero bytes
                data += bytes(numbers[0])
            elif verb in ("set16", "set32", "set64"):  # little endian: offset, value
                code = {"set16": "<H", "set32": "<I", "set64": "<Q"}[verb]
                struct.pack_into(code, data, *numbers)
            else:
                raise CaseError(f"unknown damage '{step}'")
        except (IndexError, ValueError, TypeError, struct.error) as error:
            raise CaseError(f"damage '{step}': {error}") from error
    return bytes(data)


def make_trace(events):
    """A page trace from lines such as "alloc ID ORDER [US]" and "free ID ORDER [US]"."""
    words = []
    for event in events:
        verb, *numbers = event.split()
        if verb not in ("alloc", "free") or len(numbers) not in (2, 3):
            raise CaseError(f"unknown event '{event}'")
        block, order, *delta = [int(number, 0) for number in numbers]
        words.append(block | (delta[0] if delta else 0) << 32 | order << 56 |
                     (verb == "free") << 63)
    return struct.pack(f"<8sII{len(words)}Q", b"PGTRACE1", len(words), 0, *words)


def read(path):
    """A cases.cfg. OSError or configparser.Error when it is none."""
    config = configparser.ConfigParser(interpolation=None, delimiters=("=",),
                                       comment_prefixes=("#",), inline_comment_prefixes=None)
    with open(path, encoding="utf-8") as file:
        config.read_file(file)
    return config


def lines(section, key):
    return [line.strip() for line in section.get(key, "").splitlines() if line.strip()]


def write(directory, name, data):
    path = os.path.join(directory, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


PREPARATION_ERRORS = (CaseError, KeyError, OSError, ValueError, IndexError,
                      subprocess.CalledProcessError)


def prepare(section, directory, build, vmm=None):
    """The command line of a case."""
    unknown = set(section) - KEYS
    if unknown:
        raise CaseError(f"unknown key '{sorted(unknown)[0]}'")
    names = {"tmp": directory, "build": build, "traces": os.path.join(ROOT, "tests", "traces")}
    image = os.path.join(build, section.get("image", "guest.bin"))
    if "damage" in section:
        with open(image, "rb") as file:
            image = write(directory, "damaged.bin", damage(file.read(), lines(section, "damage")))
    if "trace" in section:
        trace = damage(make_trace(lines(section, "trace")), lines(section, "damage-trace"))
        names["trace"] = write(directory, "trace.pgt", trace)
    if "cut" in section:
        source, events = section["cut"].split()
        names["trace"] = os.path.join(directory, "trace.pgt")
        subprocess.run([os.path.join(ROOT, "tools", "cut-page-trace"),
                        os.path.join(names["traces"], source), events, names["trace"]], check=True)
    args = [arg.format(**names) for arg in shlex.split(section.get("args", ""))]
    # An empty image: the case runs none.
    program = args[args.index("--"):] if "--" in args else []
    args = args[:len(args) - len(program)]
    command = [vmm or os.path.join(build, "vmm"), *([image] if section.get("image") != "" else []), *args]
    if "json" in section:
        command += ["--stats", os.path.join(directory, "stats.json")]
    if "record" in section:
        command += ["--trace", os.path.join(directory, "run.trace"), "--trace-level",
                    section["record"]]
    return command + program


def signal_of(section):
    """Numbers and regex of "SIGINT when REGEX"; no regex when it is "SIGUSR2 at start"; nothing and
    None when there is none."""
    if "signal" not in section:
        return (), None
    names, at_start, rest = section["signal"].partition(" at start")
    after = None
    if not at_start or rest:
        names, _, after = section["signal"].partition(" when ")
    return tuple(signal.Signals[name] for name in names.split()), after


def environment_of(section, build):
    """With a host that fails preloaded, if the case wants one."""
    if "fail" not in section:
        return {}
    return {"LD_PRELOAD": os.path.join(build, "tests", "failing_host.so"),
            "EBB_FAIL": section["fail"]}


def with_args(section, args):
    """A copy of the case with further arguments."""
    copy = configparser.ConfigParser(interpolation=None)
    copy["case"] = dict(section)
    own, separator, program = section.get("args", "").partition(" -- ")
    copy["case"]["args"] = f"{own} {args}{separator}{program}"  # not the program's
    return copy["case"]


def doorbell_is_fixed(section):
    """Whether the case says itself what the doorbell is; a host of ABI 1.0 has a port and no other."""
    return re.search(r"--(transport|abi)\b", section["args"]) is not None


def over_vmcall(section):
    """The same case with hypercalls for doorbells."""
    copy = with_args(section, "--transport vmcall")
    copy["json"] += "\nexits.vmcalls == exits.doorbells"
    return copy


def cases_of(config):
    """(name, section) of every case: one that names hosts is a case for each of them."""
    for name in config.sections():
        if "hosts" not in config[name]:
            yield name, config[name]
            continue
        for host in config[name]["hosts"].split():
            copy = with_args(config[name], f"--host {host}")
            del copy["hosts"]
            yield f"{name}-{host}", copy


def cut_short(section, events):
    """The same case with the first events of the trace that it replays, if it does."""
    shipped = re.search(r"\{traces\}/(\S+)", section.get("args", ""))
    if not shipped or "cut" in section:
        return section
    copy = with_args(section, "")
    copy["args"] = copy["args"].replace(shipped[0], "{trace}")
    copy["cut"] = f"{shipped[1]} {events}"
    copy["json"] = re.sub(r"workload\.events == \d+", f"workload.events == {events}",
                          copy.get("json", ""))
    return copy


def under_the_oracle(section, via):
    """Whether the guest's use of its memory is watched: on this host's KVM wherever there are hints,
    unless the case says otherwise. The kernel of the nested machine is older than what it takes."""
    hints = "kvm" in section.get("needs", "") and "hints." in section.get("json", "")
    return section.get("oracle", "on" if hints and via == "kvm" else "off") == "on"
