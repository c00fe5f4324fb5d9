# SPDX-License-Identifier: MIT
"""From results to what a page shows.

A scenario is everything that two runs must have in common to be compared: workload, speed, backing,
host, ... all but the policy. Within one, medians over repetitions; and what single events cost
(a doorbell, a fault) is the median over all runs of the scenario, because it is a property of the
machine and each run's own measurement of it is noisy."""
import statistics

from . import peers
from .plan import POLICY, Bad

MIB = 2**20
PAGE = 4096
HUGE_ORDER = 9
POLICY_KEYS = (*POLICY, "report")
MOST_SERIES = 5


def need(result, *path):
    value = result["stats"]
    for name in path:
        if not isinstance(value, dict) or value.get(name) is None:
            raise Bad(f"chart data missing: the run with {describe(result)} has no "
                      f"{'.'.join(path)}; run it again with a vmm of this version")
        value = value[name]
    return value


def describe(result):
    return " ".join(f"{name}={value}" for name, value in result["parameters"].items())


def scenario_key(parameters):
    return tuple(sorted((name, str(value)) for name, value in parameters.items()
                        if name not in POLICY_KEYS))


def setting_name(parameters):
    if parameters.get("report") == "off":
        return "off"
    words = [str(parameters.get("order", 9))]
    if parameters.get("order") != "auto":
        words.append(str(parameters.get("batch", 256)))
    more = [f"{name}={parameters[name]}" for name in POLICY[2:] if name in parameters]
    return ("auto" if words == ["auto"] else "order " + ", batch ".join(words)) + \
        "".join(f", {word}" for word in more)


def titles(keys):
    """A short name a scenario: what tells it from the others, and its workload."""
    differs = {name for name in {name for key in keys for name, _ in key}
               if len({dict(key).get(name) for key in keys}) > 1}
    names = []
    for key in keys:
        values = dict(key)
        title = values.get("trace") or values.get("workload", "run")
        title = title.rsplit("/", 1)[-1].removesuffix(".xz").removesuffix(".pgt")
        rest = [f"{name} {value}" for name, value in key
                if name in differs and name not in ("trace", "workload")]
        names.append(", ".join([title, *rest]))
    return names


def median(values):
    return statistics.median(values)


def units(results):
    """What a doorbell and a fault cost in this scenario: medians of what the runs measured."""
    found = {"doorbell": [], "page_fault": [], "huge_page_fault": []}
    for result in results:
        measured = (result["stats"].get("ledger") or {}).get("unit_ns", {})
        for name, values in found.items():
            if measured.get(name) is not None:
                values.append(measured[name])
    return {name: median(values) if values else None for name, values in found.items()}


def rings(stats):
    """Doorbells that somebody paid for: exits of a synchronous host, else wake-ups of a worker."""
    if stats.get("host", {}).get("mode", "sync") == "sync":
        return stats["exits"]["doorbells"]
    return sum(channel["doorbells"] for channel in stats["channels"])


def spent_ns(result, unit):
    stats = result["stats"]
    ledger = stats["ledger"]
    if stats["hints"]["batches"] == 0:
        return {"discard": 0, "doorbell": 0, "refault": 0}
    if unit["doorbell"] is None or unit["page_fault"] is None:
        need(result, "ledger", "unit_ns", "page_fault")
        need(result, "ledger", "unit_ns", "doorbell")
    refault = 0
    for row in ledger["orders"]:
        fault = unit["page_fault"]
        if row["order"] >= HUGE_ORDER and unit["huge_page_fault"] is not None:
            fault = unit["huge_page_fault"]
        refault += row["reused_bytes"] / PAGE * fault
    if ledger["reuse"] == "modelled":
        refault = ledger["reused_bytes"] / PAGE * unit["page_fault"]
    # A run whose own units could not be measured has no sum, but has its parts.
    discard = (ledger.get("spent") or {}).get("discard_ns", stats["hints"].get("host_ns", 0))
    return {"discard": discard, "doorbell": rings(stats) * unit["doorbell"], "refault": refault}


def make_setting(results, unit):
    """One combination of policy knobs: medians over its repetitions."""
    parameters = results[0]["parameters"]
    rates, ratios, spent, seconds, cpu = [], [], [], [], []
    parts = {"discard": [], "doorbell": [], "refault": []}
    for result in results:
        seconds.append(max(need(result, "workload", "seconds"), 1e-9))
        rates.append(need(result, "ledger", "saved_mib_s") / seconds[-1])
        ratios.append(need(result, "memory", "footprint_ratio"))
        cpu.append(result["stats"]["workload"].get("cpu_seconds") or 0)
        costs = spent_ns(result, unit)
        spent.append(sum(costs.values()))
        for name, value in costs.items():
            parts[name].append(value)
    middle = sorted(range(len(results)), key=lambda index: ratios[index])[len(results) // 2]
    return {
        "name": setting_name(parameters),
        "order": parameters.get("order", 9) if parameters.get("report") != "off" else None,
        "batch": parameters.get("batch", 256),
        "plain": not any(name in parameters for name in POLICY[2:]),
        "runs": len(results),
        "saved_mib": median(rates),
        "ratio": median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "spent_ns": median(spent),
        "spent_range": [min(spent), max(spent)],
        "parts": {name: median(values) for name, values in parts.items()},
        "seconds": median(seconds),
        "cpu_seconds": median(cpu),
        "doorbells": median([rings(result["stats"]) for result in results]),
        "hinted_mib": median([need(result, "hints", "bytes") / MIB for result in results]),
        "latency": merged_histogram(results),
        "series": need(results[middle], "series"),
    }


def merged_histogram(results):
    counts = {}
    for result in results:
        for upper, count in (result["stats"].get("inflight", {}).get("latency_us", {})
                             .get("histogram") or []):
            counts[upper] = counts.get(upper, 0) + count
    return sorted(counts.items())


def net_mib_s(scenario, setting, price_ns):
    """At the scenario's median duration: how long a run took must not decide what is best."""
    return setting["saved_mib"] * scenario["seconds"] - setting["spent_ns"] / price_ns


def best_fixed(scenario, price_ns):
    """The fixed setting with the greatest net benefit, whether it pays or not."""
    fixed = [setting for setting in scenario["settings"] if setting["order"] not in (None, "auto")]
    return max(fixed, key=lambda setting: net_mib_s(scenario, setting, price_ns), default=None)


def hot_spot(scenario, price_ns):
    """That setting, if it is better than no reporting, whose net benefit is 0 by definition."""
    best = best_fixed(scenario, price_ns)
    return best if best is not None and net_mib_s(scenario, best, price_ns) > 0 else None


def pareto(settings):
    """Those that no other beats in both cost and footprint, by cost."""
    front, best = [], None
    for setting in sorted(settings, key=lambda one: (one["spent_ns"], one["ratio"])):
        if best is None or setting["ratio"] < best:
            front.append(setting["name"])
            best = setting["ratio"]
    return front


def make_scenario(title, key, results, price_ns):
    unit = units(results)
    grouped = {}
    for result in results:
        grouped.setdefault(setting_name(result["parameters"]), []).append(result)
    scenario = {"title": title, "common": dict(key), "unit_ns": unit,
                "seconds": median([need(result, "workload", "seconds") for result in results]),
                "settings": [make_setting(group, unit) for group in grouped.values()]}
    scenario["settings"].sort(key=lambda one: (str(type(one["order"])), one["order"] or 0,
                                               one["batch"], one["name"]))
    hottest = best_fixed(scenario, price_ns)
    shown = [one["name"] for one in scenario["settings"]
             if one["order"] in (None, "auto") or one is hottest]
    shown += [one["name"] for one in scenario["settings"]
              if one["name"] == "order 9, batch 256" and one["name"] not in shown]
    for one in scenario["settings"]:
        if one["name"] not in shown[:MOST_SERIES]:
            one["series"] = None
    scenario["front"] = pareto([one for one in scenario["settings"] if one["order"] is not None])
    return scenario


def usable_of(results):
    """Those that a policy can be judged by. Raises Bad when there are none."""
    ended = [result for result in results if result["status"] == 0 and result.get("stats")]
    if not ended:
        raise Bad(f"chart data missing: none of {len(results)} runs ended well")
    # A run that was too short to be measured says so, and has no integrals.
    usable = [result for result in ended if not result["stats"].get("memory", {}).get("missing")]
    if not usable:
        raise Bad(f"chart data missing: no run could be measured: {describe(ended[0])}: "
                  f"{ended[0]['stats']['memory']['missing']}; make runs longer")
    return usable


def digest(results, price_ns):
    """Everything the page shows, as plain data. Raises Bad when something needed is missing."""
    # What was run beside a peer is compared with that, and is no policy to choose.
    policies = [result for result in results if "peer" not in result["parameters"]]
    beside = peers.compare(results)
    judged = usable_of(policies) if policies or not beside else []
    groups = {}
    for result in judged:
        groups.setdefault(scenario_key(result["parameters"]), []).append(result)
    keys = sorted(groups)
    ended = [result for result in results if result["status"] == 0 and result.get("stats")]
    usable = judged + [result for result in ended if "peer" in result["parameters"]]
    hosts = []
    for result in usable:
        host = {name: value for name, value in result.get("host", {}).items() if name != "load"}
        if host not in hosts:
            hosts.append(host)
    loads = [result["host"]["load"] for result in usable if "load" in result.get("host", {})]
    return {"experiment": usable[0].get("experiment", ""), "runs": len(usable),
            "failed": len(results) - len(ended), "unmeasured": len(ended) - len(usable),
            "hosts": hosts, "price_ns": price_ns,
            "load": [min(loads), max(loads)] if loads else None,
            "started": min(result.get("started", "") for result in usable),
            "scenarios": [make_scenario(title, key, groups[key], price_ns)
                          for title, key in zip(titles(keys), keys)],
            "peers": beside, "peer_notes": peers.notes_of(results)}
