# SPDX-License-Identifier: MIT
"""The page of a report: everything in one file, with a table under each plot."""
import html
import json
import math
import os
import re

from .digest import hot_spot, net_mib_s
from .plan import ROOT

PARTS = os.path.join(ROOT, "tools", "report.d")
CAPTIONS = {
    "heat": "Each cell is a setting; brighter is better (by rank), the red frame marks the hot spot: "
            "the fixed setting with the greatest net benefit.",
    "footprint": "What the host has resident, against what the guest uses.",
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


def table(caption, head, rows, hot=None):
    cells = "".join(f'<th scope="col">{html.escape(str(cell))}</th>' for cell in head)
    body = "".join(
        f"<tr{' class=hot' if row[0] == hot else ''}><th scope=\"row\">{html.escape(str(row[0]))}</th>"
        + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row[1:]) + "</tr>" for row in rows)
    return (f"<details><summary>{html.escape(caption)}</summary><div class=scroll><table>"
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
    shown = [one for one in scenario["settings"] if one["series"]]
    rows = []
    for share in range(0, 101, 10):
        row = [f"{share} %"]
        for one in shown:
            points = one["series"]["at_ms"]
            index = min(len(points) - 1, share * (len(points) - 1) // 100) if points else None
            row += ["-", "-"] if index is None else [
                f"{one['series']['resident_kib'][index] / 1024:.0f}",
                f"{one['series']['live_kib'][index] / 1024:.0f}"]
        rows.append(row)
    head = ["share of the run"]
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


def scenario_section(index, scenario, price_ns):
    tables = {"heat": settings_table(scenario, price_ns), "footprint": series_table(scenario),
              "pareto": "", "latency": latency_table(scenario)}
    common = ", ".join(f"{name} {value}" for name, value in scenario["common"].items())
    hottest = hot_spot(scenario, price_ns)
    told = "No fixed setting." if hottest is None else (
        f"Hot spot: {hottest['name']}: net {net_mib_s(scenario, hottest, price_ns):,.0f} MiB s, "
        f"footprint ratio {hottest['ratio']:.3f}, {hottest['spent_ns'] / 1e6:,.0f} ms spent.")
    parts = [f"<h2>{html.escape(scenario['title'])}</h2><p class=note>{html.escape(common)}</p>"
             f"<p>{html.escape(told)}</p>"]
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


def facts(data):
    lines = []
    for host in data["hosts"]:
        lines.append(f"{host.get('cpu') or 'unknown CPU'}, {host.get('cores')} cores, Linux "
                     f"{host.get('kernel')}, {host.get('kvm')}, commit {host.get('commit')}")
    load = data["load"]
    more = f"{data['runs']} runs from {data['started']}"
    if data["failed"]:
        more += f", {data['failed']} more failed"
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
        f"<h1>{name}</h1>{notes}{controls}{sections}"
        f"{map_section(memory_map) if memory_map else ''}{asset('notes.html')}"
        f'<script type="application/json" id="data">{embedded}</script>'
        f"{script(asset('vendor', 'd3.min.js'))}{script(asset('vendor', 'plot.umd.min.js'))}"
        f"{script(asset('report.js'))}</body></html>\n")
