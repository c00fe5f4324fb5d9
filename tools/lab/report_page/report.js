// SPDX-License-Identifier: MIT
// Draws the plots of a report from the data embedded in the page. Figures are named by
// data-figure="KIND-NUMBER"; with #export the page draws them at a fixed width and leaves their SVG
// as JSON in the element "exported", which tools/report --figures takes from there.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const exporting = location.hash === "#export";
  if (exporting) document.documentElement.classList.add("export");
  const state = { metric: "net", price: data.price_ns };
  const fontSize = 12;

  const number = (value, digits = 3) =>
    Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(digits)).toString();
  const net = (scenario, setting) => setting.saved_mib * scenario.seconds - setting.spent_ns / state.price;
  const metrics = {
    net: { label: "net benefit, MiB·s", of: net, best: 1 },
    ratio: { label: "footprint ratio", of: (_, setting) => setting.ratio, best: -1 },
    spent: { label: "time spent, ms", of: (_, setting) => setting.spent_ns / 1e6, best: -1 },
  };
  const fixed = (scenario) => scenario.settings.filter((one) => typeof one.order === "number" && one.plain);
  const bestFixed = (scenario) => d3.greatest(scenario.settings.filter((one) => typeof one.order === "number"), (one) => net(scenario, one));
  // No reporting has 0 by definition; what does not beat that is no hot spot.
  const hotSpot = (scenario) => { const best = bestFixed(scenario); return best && net(scenario, best) > 0 ? best : undefined; };
  const whole = (value) => Math.round(value).toLocaleString("en");
  function verdict(scenario) {
    const best = bestFixed(scenario);
    if (!best) return "No fixed setting.";
    const facts = `${best.name}: net ${whole(net(scenario, best))} MiB s, footprint ratio ${best.ratio.toFixed(3)}, ${whole(best.spent_ns / 1e6)} ms spent.`;
    return hotSpot(scenario) ? `Hot spot: ${facts}` : `No fixed setting pays: no reporting has 0, the best of them ${facts}`;
  }
  const base = (width, more) => ({
    width, style: { fontSize: `${fontSize}px`, background: "transparent", color: "currentColor" }, ...more });

  function heat(scenario, width) {
    const metric = metrics[state.metric];
    const cells = fixed(scenario).map((one) => ({ ...one, value: metric.of(scenario, one) }));
    if (!cells.length) return null;
    const values = cells.map((one) => one.value);
    const ranked = d3.sort(values, (value) => metric.best * value);
    // By rank: one bad corner would leave the rest in one colour.
    const color = Plot.scale({ color: { type: "linear", domain: [0, 1], scheme: "viridis" } });
    const shade = (one) => color.apply(cells.length > 1 ? d3.bisectLeft(ranked.map((v) => metric.best * v), metric.best * one.value) / (cells.length - 1) : 1);
    const hottest = hotSpot(scenario);
    const hot = cells.some((one) => one.name === hottest?.name) ? hottest : undefined;
    const order = d3.groupSort(cells, (group) => -group[0].order, (one) => one.order);
    const batch = d3.groupSort(cells, (group) => group[0].batch, (one) => one.batch);
    const place = { x: "batch", y: "order" };
    return Plot.plot(base(width, {
      height: 70 + 30 * order.length, marginLeft: 45, marginBottom: 45,
      x: { type: "band", domain: batch, label: "batch (ranges a hint)", labelAnchor: "center", tickFormat: String, padding: 0.04 },
      y: { type: "band", domain: order, label: "smallest order", tickFormat: String, padding: 0.04 },
      ariaLabel: `${metric.label} by order and batch, ${scenario.title}`,
      marks: [
        Plot.cell(cells, { ...place, fill: shade, title: (one) => `${one.name}\n${metric.label} ${number(one.value)}\nfootprint ratio ${one.ratio.toFixed(3)}\nspent ${number(one.spent_ns / 1e6)} ms` }),
        Plot.text(cells.filter((one) => one.name !== hot?.name), { ...place, text: (one) => number(one.value), fill: (one) => d3.lab(shade(one)).l < 60 ? "white" : "black" }),
        hot ? Plot.cell([hot], { ...place, fill: "none", stroke: "#e8112d", strokeWidth: 3.5, inset: 1 }) : null,
        Plot.text(cells.filter((one) => one.name === hot?.name), { ...place, text: (one) => `${number(one.value)}\nhot spot`, lineHeight: 0.95, fontSize: 11, fontWeight: "bold", fill: (one) => d3.lab(shade(one)).l < 60 ? "white" : "black" }),
      ] }));
  }

  function front(scenario, width) {
    const points = scenario.settings.filter((one) => one.order !== null && one.spent_ns > 0);
    const off = scenario.settings.find((one) => one.order === null);
    if (!points.length) return null;
    const best = d3.sort(points.filter((one) => scenario.front.includes(one.name)), (one) => one.spent_ns);
    const hot = hotSpot(scenario);
    const right = d3.max(points, (one) => one.spent_ns) / 1e6;
    return Plot.plot(base(width, {
      height: 340, marginLeft: 50, marginRight: 45, marginBottom: 40, marginTop: 28, grid: true,
      x: { type: "log", label: "CPU time spent on reporting, ms →", tickFormat: "~s" },
      y: { label: "↑ footprint ratio (1: as much as is used)", nice: true },
      color: { type: "linear", domain: [0, 10], scheme: "viridis" },
      ariaLabel: `Footprint against cost, ${scenario.title}`,
      marks: [
        off ? Plot.ruleY([off.ratio], { stroke: "currentColor", strokeDasharray: "5,4" }) : null,
        Plot.line(best, { x: (one) => one.spent_ns / 1e6, y: "ratio", stroke: "currentColor", strokeWidth: 1.5, curve: "step-after", strokeOpacity: 0.6 }),
        Plot.dot(points, { x: (one) => one.spent_ns / 1e6, y: "ratio", r: 4.5, fill: (one) => one.order === "auto" ? 5 : one.order, stroke: "currentColor", strokeWidth: 0.5, symbol: (one) => one.order === "auto" ? "star" : "circle", title: (one) => `${one.name}\n${number(one.spent_ns / 1e6)} ms\nratio ${one.ratio.toFixed(3)}` }),
        hot ? Plot.dot([hot], { x: (one) => one.spent_ns / 1e6, y: "ratio", r: 9, stroke: "#e8112d", strokeWidth: 2.5 }) : null,
        Plot.text(thinLabels(best, points, width), { x: (one) => one.spent_ns / 1e6, y: "ratio", text: (one) => one.order === "auto" ? "auto" : `${one.order}/${one.batch}`, dy: 13, dx: 3, textAnchor: "start", fill: "currentColor", stroke: "var(--paper)", strokeWidth: 3 }),
        off ? Plot.text([off], { x: right, y: "ratio", text: () => "without reporting", dy: -9, textAnchor: "end", fill: "currentColor", stroke: "var(--paper)", strokeWidth: 3 }) : null,
      ] }));
  }
  // Of those whose labels would lie on each other the first keeps its own. A label has 45 by 14 pixels.
  function thinLabels(labelled, points, width) {
    const x = d3.scaleLog(d3.extent(points, (one) => one.spent_ns), [50, width - 45]);
    const y = d3.scaleLinear(d3.extent(points, (one) => one.ratio), [300, 28]);
    const kept = [];
    for (const one of labelled) {
      const near = (other) => Math.abs(x(one.spent_ns) - x(other.spent_ns)) < 45 && Math.abs(y(one.ratio) - y(other.ratio)) < 14;
      if (!kept.some(near)) kept.push(one);
    }
    return kept;
  }

  function footprint(scenario, width) {
    const shown = scenario.settings.filter((one) => one.series && one.series.at_ms.length);
    if (!shown.length) return null;
    const hot = hotSpot(scenario);
    // A strip a run: what is live and what is resident belong together only where both are of the same
    // moment of the same run. A policy makes runs longer or shorter, and not everywhere alike.
    const rows = shown.flatMap((one) => one.series.at_ms.map((at, index) => ({
      name: one.name, at: at / 1000, mib: one.series.resident_kib[index] / 1024, live: one.series.live_kib[index] / 1024 })));
    const names = shown.map((one) => one.name);
    return Plot.plot(base(width, {
      height: 60 + 105 * names.length, marginLeft: 55, marginBottom: 40, marginTop: 34, grid: true,
      x: { label: "s since the workload began →" }, y: { label: null, ticks: 4 },
      fy: { domain: names, axis: null, padding: 0.2 },
      ariaLabel: `Memory over time, ${scenario.title}`,
      marks: [
        Plot.areaY(rows, { x: "at", y: "live", fy: "name", fill: "currentColor", fillOpacity: 0.15 }),
        Plot.line(rows, { x: "at", y: "mib", fy: "name", stroke: "#0072b2", strokeWidth: 2 }),
        Plot.text(names, { fy: (name) => name, frameAnchor: "top-left", dx: 4, dy: -12, fill: "currentColor", fontWeight: "bold", text: (name) => `${name}${hot && name === hot.name ? " (hot spot)" : ""}` }),
        Plot.text(names.slice(0, 1), { fy: (name) => name, frameAnchor: "top-right", dy: -26, fill: "currentColor", text: () => "MiB ↑   shaded: live, line: resident" }),
      ] }));
  }

  // The same strips, of the default order and none on both sides and the best of ours; one scale.
  function peers(trace, width) {
    const shown = trace.settings.filter((one) => !one.name.includes("THP")).filter((one, _, all) => {
      const same = all.filter((other) => other.peer === one.peer);
      return one.name.endsWith("no reporting") || one.name.endsWith("order 9") || one === d3.least(same, (other) => other.rest_ratio);
    });
    const rows = shown.flatMap((one) => one.series.at_ms.map((at, index) => ({
      name: one.name, ours: one.peer === "ebb", at: at / 1000, mib: one.series.resident_kib[index] / 1024, live: one.series.live_kib[index] / 1024 })));
    const names = shown.map((one) => one.name);
    const ratios = new Map(shown.map((one) => [one.name, one]));
    return Plot.plot(base(width, {
      height: 60 + 90 * names.length, marginLeft: 55, marginBottom: 40, marginTop: 34, grid: true,
      x: { label: "s since the trace began →" }, y: { label: null, ticks: 3 },
      fy: { domain: names, axis: null, padding: 0.25 },
      ariaLabel: `Resident memory beside Linux, ${trace.title}`,
      marks: [
        Plot.areaY(rows, { x: "at", y: "live", fy: "name", fill: "currentColor", fillOpacity: 0.15 }),
        Plot.line(rows, { x: "at", y: "mib", fy: "name", z: "name", stroke: (one) => one.ours ? "#0072b2" : "#d55e00", strokeWidth: 2 }),
        Plot.text(names, { fy: (name) => name, frameAnchor: "top-left", dx: 4, dy: -12, fill: "currentColor", fontWeight: "bold", text: (name) => `${name}: ${ratios.get(name).ratio.toFixed(2)}, with rest ${ratios.get(name).rest_ratio.toFixed(2)}` }),
        Plot.text(names.slice(0, 1), { fy: (name) => name, frameAnchor: "top-right", dy: -26, fill: "currentColor", text: () => "MiB ↑   shaded: live, line: resident" }),
      ] }));
  }

  function latency(scenario, width) {
    const pools = d3.rollup(scenario.settings.filter((one) => one.latency.length && typeof one.order === "number"),
      (group) => d3.sort(d3.rollups(group.flatMap((one) => one.latency), (rows) => d3.sum(rows, (row) => row[1]), (row) => row[0]), (row) => row[0]),
      (one) => one.batch);
    if (!pools.size) return null;
    const rows = [], ends = [];
    for (const [index, [batch, counts]] of d3.sort(pools, (entry) => entry[0]).entries()) {
      // Neighbours are labelled at different heights: they may be nearer to each other than a label is wide.
      const height = [50, 30, 70][index % 3];
      const total = d3.sum(counts, (row) => row[1]);
      let below = 0;
      for (const [us, count] of counts) {
        const before = below;
        below += count;
        rows.push({ batch, us: Math.max(us, 0.01), share: 100 * below / total });
        if (before < total * height / 100 && below >= total * height / 100) ends.push({ batch, us, height });
      }
    }
    const batches = [...new Set(rows.map((row) => row.batch))];
    return Plot.plot(base(width, {
      height: 300, marginLeft: 50, marginBottom: 40, grid: true, marginTop: 28,
      x: { type: "log", label: "µs from submission to answer →", tickFormat: "~s" },
      y: { label: "↑ batches answered, %", domain: [0, 100] },
      color: { type: "ordinal", domain: batches, range: ["#e69f00", "#0096e0", "#00a878", "#e05ca0", "#d55e00", "#9a8cff"] },
      ariaLabel: `Latency of answers by batch, ${scenario.title}`,
      marks: [
        Plot.line(rows, { x: "us", y: "share", z: "batch", stroke: "batch", strokeWidth: 2, curve: "step-after" }),
        Plot.text(ends, { x: "us", y: "height", text: (one) => String(one.batch), dx: -4, textAnchor: "end", fill: "currentColor", stroke: "var(--paper)", strokeWidth: 3 }),
      ] }));
  }

  function map(_, width) {
    const tones = { 1: "#d55e00", 2: "#e6c300", 3: "#0072b2" };
    const rows = data.map.rectangles;
    const words = [1, 2, 3].map((index) => ({ word: data.map.states[index], tone: tones[index], index }));
    return Plot.plot(base(width, {
      height: 440, marginLeft: 55, marginBottom: 40, marginTop: 62,
      x: { label: "s →", domain: [0, data.map.seconds] }, y: { label: "↑ guest-physical address, MiB", domain: data.map.mib },
      ariaLabel: "State of guest memory over time",
      marks: [
        Plot.rect(rows, { x1: "0", x2: "1", y1: "2", y2: "3", fill: (row) => tones[row[4]], title: (row) => data.map.states[row[4]], shapeRendering: "crispEdges" }),
        ...words.flatMap((one) => [
          Plot.dot([one], { frameAnchor: "top-left", dy: -19, dx: -40 + 90 * (one.index - 1), symbol: "square", r: 6, fill: one.tone }),
          Plot.text([one], { frameAnchor: "top-left", dy: -24, dx: -30 + 90 * (one.index - 1), text: "word", fill: "currentColor" })]),
        Plot.frame({ stroke: "currentColor", strokeOpacity: 0.3 }),
      ] }));
  }

  const kinds = { heat, pareto: front, footprint, latency, map, peers };
  function draw() {
    for (const told of document.querySelectorAll("[data-scenario]")) told.textContent = verdict(data.scenarios[Number(told.dataset.scenario)]);
    for (const figure of document.querySelectorAll("figure[data-figure]")) {
      const [kind, index] = figure.dataset.figure.split("-");
      const box = figure.querySelector(".plot");
      const width = exporting ? 720 : Math.max(280, Math.min(900, box.clientWidth));
      const plot = kinds[kind]((kind === "peers" ? data.peers : data.scenarios)[Number(index)], width);
      if (plot) {
        plot.setAttribute("role", "img");
        box.replaceChildren(plot);
      } else {
        box.textContent = "No run here has what this plot needs.";
        figure.querySelector(".tools")?.remove();
      }
    }
  }

  // A picture that stands alone: black on white, whatever the page looks like.
  function standalone(svg) {
    const copy = svg.cloneNode(true);
    const [width, height] = [Number(svg.getAttribute("width")), Number(svg.getAttribute("height"))];
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("style", "color:#1b1f24;font-family:sans-serif;font-size:12px;--paper:#fff");
    copy.setAttribute("viewBox", `-8 -4 ${width + 16} ${height + 8}`);
    const paper = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of Object.entries({ x: -8, y: -4, width: width + 16, height: height + 8, fill: "#fff" })) paper.setAttribute(name, value);
    copy.prepend(paper);
    return new XMLSerializer().serializeToString(copy).replaceAll("var(--paper)", "#fff");
  }
  function save(name, href) {
    const link = Object.assign(document.createElement("a"), { href, download: name });
    link.click();
  }
  document.addEventListener("click", (event) => {
    const format = event.target.dataset?.save;
    if (!format) return;
    const figure = event.target.closest("figure");
    const svg = figure.querySelector(".plot svg");
    const href = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(standalone(svg));
    const name = `${figure.dataset.name}.${format}`;
    if (format === "svg") return save(name, href);
    const image = new Image();
    image.onload = () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: image.width * 2, height: image.height * 2 });
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      save(name, canvas.toDataURL("image/png"));
    };
    image.src = href;
  });

  const price = document.getElementById("price");
  const shownPrice = document.getElementById("shown-price");
  price?.addEventListener("input", () => {
    state.price = 10 ** Number(price.value);
    shownPrice.textContent = `${number(state.price / 1e6)} ms`;
    draw();
  });
  document.getElementById("metric")?.addEventListener("change", (event) => {
    state.metric = event.target.value;
    draw();
  });
  draw();
  let last = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== last) { last = innerWidth; draw(); } });
  if (exporting) {
    const figures = {};
    for (const figure of document.querySelectorAll("figure[data-figure]")) {
      const svg = figure.querySelector(".plot svg");
      if (svg) figures[figure.dataset.name] = standalone(svg);
    }
    const exported = Object.assign(document.createElement("pre"), { id: "exported", hidden: true });
    exported.textContent = JSON.stringify(figures);
    document.body.append(exported);
  }
})();
