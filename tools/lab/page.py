# SPDX-License-Identifier: MIT
"""The page of a report: everything in one file, with a table under each plot."""
import bisect
import html
import json
import math
import os
import re

from . import peers
from .digest import best_fixed, hot_spot, net_mib_s

PARTS = os.path.join(os.path.dirname(__file__), "report_page")
CAPTIONS = {
    "heat": "Each cell is a setting; brighter is better (by rank), the red frame marks the hot spot: "
            "the fixed setting with the greatest net benefit. There is none where no setting pays.",
    "footprint": "What the host has resident, against what the guest uses at the same moment of the "
                 "same run; a strip for each run.",
    "pareto": "Each dot is a setting (labels: order/batch), darker dots are smaller orders; the line "
              "joins those that no other beats in both. Red ring: the hot spot.",
    "latency": "Share of batches answered within a time, by batch size, over all orders.",
}
TITLES = {"heat": "Order and batch", "footprint": "Memory over time", "pareto": "Cost and footprint",
          "latency": "Latency of answers"}


def asset(*path):
    with open(os.path.join(PARTS, *path), encoding="utf-8") as file:
        return file.read()


def script(text):
    return "<script>" + text.replace("</script", "<\\/script") + "</script>"


def table(caption, head, rows, hot=None, is_open=False):
    cells = "".join(f'<th scope="col">{html.escape(str(cell))}</th>' for cell in head)
    body = "".join(
        f"<tr{' class=hot' if row[0] == hot else ''}><th scope=\"row\">{html.escape(str(row[0]))}</th>"
        + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row[1:]) + "</tr>" for row in rows)
    return (f"<details{' open' if is_open else ''}><summary>{html.escape(caption)}</summary>"
            "<div class=scroll><table>"
            f"<caption>{html.escape(caption)}</caption><thead><tr>{cells}</tr></thead>"
            f"<tbody>{body}</tbody></table></div></details>")


def settings_table(scenario, price_ns):
    hottest = hot_spot(scenario, price_ns)
    rows = [[one["name"], one["runs"], f"{net_mib_s(scenario, one, price_ns):,.0f}",
             f"{one['saved_mib']:,.1f}", f"{one['ratio']:.3f}", f"{one['spent_ns'] / 1e6:,.1f}",
             *(f"{one['parts'][part] / 1e6:,.1f}" for part in ("discard", "doorbell", "refault")),
             f"{one['doorbells']:,.0f}", f"{one['hinted_mib']:,.0f}", f"{one['seconds']:.2f}"]
            for one in scenario["settings"]]
    return table("All settings as a table", ["setting", "runs", "net, MiB s", "saved, MiB", "ratio",
                 "spent, ms", "discards", "doorbells", "refaults", "rings", "hinted, MiB", "run, s"],
                 rows, hottest and hottest["name"])


def series_table(scenario):
    """Each run at the same moments since its own beginning, as long as it ran."""
    shown = [one for one in scenario["settings"] if one["series"]]
    longest = max((one["series"]["at_ms"][-1] for one in shown if one["series"]["at_ms"]), default=0)
    rows = []
    for step in range(11):
        at_ms = longest * step / 10
        row = [f"{at_ms / 1000:.2f}"]
        for one in shown:
            points = one["series"]["at_ms"]
            if not points or at_ms > points[-1]:
                row += ["-", "-"]
                continue
            index = max(bisect.bisect_right(points, at_ms) - 1, 0)
            row += [f"{one['series']['resident_kib'][index] / 1024:.0f}",
                    f"{one['series']['live_kib'][index] / 1024:.0f}"]
        rows.append(row)
    head = ["s since the workload began"]
    for one in shown:
        head += [f"{one['name']}: resident, MiB", "live, MiB"]
    return table("Memory over time as a table", head, rows)


def latency_table(scenario):
    rows = []
    for one in scenario["settings"]:
        total = sum(count for _, count in one["latency"])
        if total:
            row, below, marks = [one["name"], total], 0, [0.5, 0.9, 0.99, 1.0]
            for upper, count in one["latency"]:
                below += count
                while marks and below >= marks[0] * total:
                    row.append(f"{upper:,.1f}")
                    marks.pop(0)
            rows.append(row)
    return table("Latency as a table", ["setting", "batches", "p50, µs", "p90", "p99", "longest"], rows)


def figure(kind, index, name, caption, data_table):
    return (f'<figure data-figure="{kind}-{index}" data-name="{html.escape(name)}">'
            f'<div class="plot"></div><figcaption>{html.escape(caption)}</figcaption>'
            '<div class="tools"><button data-save="svg">SVG</button>'
            f'<button data-save="png">PNG</button></div>{data_table}</figure>')


def slug(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def verdict(scenario, price_ns):
    """In report.js, too, where the price can be moved."""
    best = best_fixed(scenario, price_ns)
    if best is None:
        return "No fixed setting."
    facts = (f"{best['name']}: net {net_mib_s(scenario, best, price_ns):,.0f} MiB s, "
             f"footprint ratio {best['ratio']:.3f}, {best['spent_ns'] / 1e6:,.0f} ms spent.")
    if hot_spot(scenario, price_ns) is None:
        return f"No fixed setting pays: no reporting has 0, the best of them {facts}"
    return f"Hot spot: {facts}"


def scenario_section(index, scenario, price_ns):
    tables = {"heat": settings_table(scenario, price_ns), "footprint": series_table(scenario),
              "pareto": "", "latency": latency_table(scenario)}
    common = ", ".join(f"{name} {value}" for name, value in scenario["common"].items())
    parts = [f"<h2>{html.escape(scenario['title'])}</h2><p class=note>{html.escape(common)}</p>"
             f"<p class=told data-scenario={index}>{html.escape(verdict(scenario, price_ns))}</p>"]
    for kind, title in TITLES.items():
        parts.append(f"<h3>{title}</h3>" + figure(kind, index, f"{slug(scenario['title'])}-{kind}",
                                                  CAPTIONS[kind], tables[kind]))
    return "<section>" + "".join(parts) + "</section>"


def map_section(memory_map):
    rows = [[f"{at:.2f}", *(f"{100 * share:.0f} %" for share in shares)]
            for at, shares in memory_map["shares"]]
    head = ["s", *memory_map["states"]]
    return ("<section><h2>Guest memory over time</h2>" +
            figure("map", 0, "memory-map", "Which state most of each stretch of guest memory was in.",
                   table("Memory map as a table", head, rows)) + "</section>")


def peer_section(data):
    """Each trace with Linux and this guest beside each other, and what is unfair in it."""
    if not data["peers"]:
        return ""
    parts = ["<h2>Beside Linux's free page reporting</h2>"]
    for index, trace in enumerate(data["peers"]):
        parts.append(f"<h3>{html.escape(trace['title'])}</h3>" + figure(
            "peers", index, f"{slug(trace['title'])}-peers",
            "What the host has resident, against what the guest uses; the rest after the trace is idle.",
            table("All settings as a table", peers.HEAD, map(peers.cells, trace["settings"]),
                  is_open=True)))
    parts += [f"<p class=note>{html.escape(line)}</p>"
              for line in data["peer_notes"]]
    return "<section>" + "".join(parts) + "</section>"


def facts(data):
    lines = []
    for host in data["hosts"]:
        lines.append(f"{host.get('cpu') or 'unknown CPU'}, {host.get('cores')} cores, Linux "
                     f"{host.get('kernel')}, {host.get('kvm')}, commit {host.get('commit')}")
    load = data["load"]
    more = f"{data['runs']} runs from {data['started']}"
    if data["failed"]:
        more += f", {data['failed']} more failed"
    if data["unmeasured"]:
        more += f", {data['unmeasured']} more were too short to be measured"
    if load:
        more += f"; load of the machine before them {load[0]:.1f} to {load[1]:.1f}"
    return [*lines, more]


def render(data, memory_map):
    page = {**data, "map": memory_map}
    embedded = json.dumps(page, separators=(",", ":")).replace("<", "\\u003c")
    name = html.escape(data["experiment"] or "report")
    price = math.log10(data["price_ns"])
    controls = (
        '<form class="controls"><label>Heat maps show <select id="metric">'
        '<option value="net">net benefit</option><option value="ratio">footprint ratio</option>'
        '<option value="spent">time spent</option></select></label>'
        f'<label>1 MiB·s is worth <input id="price" type="range" min="4" max="8" step="0.05" value="{price:.2f}">'
        f'<output id="shown-price">{data["price_ns"] / 1e6:g} ms</output> of CPU</label></form>')
    sections = "".join(scenario_section(index, scenario, data["price_ns"])
                       for index, scenario in enumerate(data["scenarios"]))
    notes = "".join(f"<p class=note>{html.escape(line)}</p>" for line in facts(data))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title><style>{asset('report.css')}</style></head><body>"
        f"<h1>{name}</h1>{notes}{peer_section(data)}{controls if data['scenarios'] else ''}{sections}"
        f"{map_section(memory_map) if memory_map else ''}{asset('notes.html') if data['scenarios'] else ''}"
        f'<script type="application/json" id="data">{embedded}</script>'
        f"{script(asset('vendor', 'd3.min.js'))}{script(asset('vendor', 'plot.umd.min.js'))}"
        f"{script(asset('report.js'))}</body></html>\n")
