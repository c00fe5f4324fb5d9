# SPDX-License-Identifier: MIT
"""Linux with its free page reporting and this tree's guest beside each other, from results whose
parameters name a peer: what the host had resident over what was in use, while the trace ran and with the
rest behind it, for each setting the median of its runs and their range."""
import os
import statistics

from .plan import seconds_of

MIB = 2**20
UNFAIR = (
    "Linux: what is resident before the trace begins is subtracted; its page tables and other memory "
    "of its kernel's that grow later are not. Its pages are those of one process, which writes each "
    "once. Ebb: nothing is subtracted.",
    "A guest under software emulation is late, by the time in the last column. Linux's clock of the "
    "trace stands still for that long; Ebb's runs on, and what is late is caught up with. Linux runs on "
    "QEMU's processor itself, Ebb on a KVM inside a machine of QEMU's, which is slower.",
)
HEAD = ("setting", "runs", "ratio", "range", "with rest", "range", "final, MiB", "live, MiB",
        "late, s")


def of_peers(results):
    return [result for result in results if "peer" in result["parameters"]]


def is_measured(result):
    return result["status"] == 0 and bool(result.get("stats"))


def setting_of(result):
    parameters = result["parameters"]
    name = {"linux": "Linux", "ebb": "Ebb"}[parameters["peer"]]
    what = "no reporting" if parameters.get("report") == "off" else \
        f"order {parameters.get('order', 9)}"
    thp = ", THP" if parameters.get("guest_thp") == "on" else ""
    return f"{name}, {what}{thp}"


def ratio(series, until_ms):
    """What was resident over what was in use, both integrated over time."""
    resident = live = 0
    points = list(zip(series["at_ms"], series["resident_kib"], series["live_kib"]))
    for (at, has, uses), (after, *_) in zip(points, points[1:]):
        if at >= until_ms:
            break
        resident += has * (min(after, until_ms) - at)
        live += uses * (min(after, until_ms) - at)
    return resident / live if live else None


def measured(result):
    stats = result["stats"]
    series, workload = stats["series"], stats["workload"]
    rest_s = seconds_of(result["parameters"].get("arg.rest", "0s"))
    end_ms = series["at_ms"][-1]
    late_s = workload.get("stretched_s")
    if late_s is None:
        late_s = (workload.get("behind_ms") or 0) / 1e3
    return {"ratio": ratio(series, end_ms - rest_s * 1e3), "rest_ratio": ratio(series, end_ms),
            "final_mib": series["resident_kib"][-1] / 1024, "live_mib": series["live_kib"][-1] / 1024,
            "late_s": late_s}


def trace_of(result):
    return os.path.basename(result["parameters"]["trace"]).removesuffix(".xz").removesuffix(".pgt")


def rank(setting):
    return (not setting.startswith("Linux"), "THP" in setting, "no reporting" not in setting,
            -int(setting.split("order ")[1].split(",")[0]) if "order " in setting else 0)


def of_setting(name, runs):
    rows = [measured(run) for run in runs]
    middle = sorted(range(len(rows)), key=lambda index: rows[index]["ratio"])[len(rows) // 2]
    return {"name": name, "peer": runs[0]["parameters"]["peer"], "runs": len(rows),
            "ratio_range": [pick(row["ratio"] for row in rows) for pick in (min, max)],
            "rest_range": [pick(row["rest_ratio"] for row in rows) for pick in (min, max)],
            **{key: statistics.median(row[key] for row in rows) for key in rows[0]},
            "series": runs[middle]["stats"]["series"]}


def compare(results):
    """[{trace, settings}], Linux first; of runs that ended well."""
    traces = {}
    for result in filter(is_measured, of_peers(results)):
        traces.setdefault(trace_of(result), {}).setdefault(setting_of(result), []).append(result)
    return [{"title": trace, "settings": [of_setting(name, settings[name])
                                          for name in sorted(settings, key=rank)]}
            for trace, settings in sorted(traces.items())]


def hosts_of(results):
    """How each peer ran, in words."""
    words = []
    for result in filter(is_measured, of_peers(results)):
        host = result["host"]
        how = {"tcg": "QEMU's software emulation", "kvm": "QEMU with KVM"}.get(
            result["stats"].get("host", {}).get("accelerator"), f"{host['kvm']}")
        line = f"{setting_of(result).split(',')[0]}: {how}, {host['cpu']}, commit {host['commit']}"
        if line not in words:
            words.append(line)
    return sorted(words)


def notes_of(results):
    """What belongs below a table: how each ran, and where both did, what is unfair."""
    peers = {result["parameters"]["peer"] for result in filter(is_measured, of_peers(results))}
    return (*hosts_of(results), *(UNFAIR if len(peers) > 1 else ()))


def cells(setting):
    return [setting["name"], setting["runs"], f"{setting['ratio']:.3f}",
            "{:.3f}..{:.3f}".format(*setting["ratio_range"]), f"{setting['rest_ratio']:.3f}",
            "{:.3f}..{:.3f}".format(*setting["rest_range"]), f"{setting['final_mib']:.1f}",
            f"{setting['live_mib']:.1f}", f"{setting['late_s']:.1f}"]


def as_text(results):
    """The tables for a terminal."""
    lines = []
    for trace in compare(results):
        rows = [HEAD, *map(cells, trace["settings"])]
        widths = [max(len(str(row[column])) for row in rows) for column in range(len(HEAD))]
        lines.append(trace["title"])
        lines += ["  " + "  ".join(str(cell).ljust(width) if index == 0 else str(cell).rjust(width)
                                   for index, (cell, width) in enumerate(zip(row, widths)))
                  for row in rows]
    return "\n".join([*lines, *notes_of(results)])
