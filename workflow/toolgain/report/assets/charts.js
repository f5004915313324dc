/* The charts, drawn by Observable Plot from the numbers in #chart-data. */
"use strict";

const Charts = (() => {
  const data = Page.charts;
  const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize);
  const signed = (x) => (Math.abs(x) < 1e-9 ? "0" : (x > 0 ? "+" : "−") + Math.abs(x));
  const finite = (...values) => values.every((x) => typeof x === "number" && isFinite(x));
  let printing = false;

  function place(target, plot) {
    plot.setAttribute("aria-hidden", "true");
    target.replaceChildren(plot);
  }

  const style = () => ({ fontSize: `${0.8 * rem()}px`, background: "none", color: "var(--soft)" });
  const colour = (d) => (d.small ? "var(--mute-dot)" : { up: "var(--good)", down: "var(--bad)" }[d.clear] ?? "var(--neutral)");
  // Sizes and opacities are given as they are, not as data to scale.
  const asIs = { r: { type: "identity" }, opacity: { type: "identity" }, symbol: { type: "identity" } };

  /* Ends of the common scale: zero, the noise floor, all large-sample intervals, and those of small
     categories that leave zero out: nobody should have to guess how far they moved. */
  function extent(dots, alsoSmall) {
    const shown = dots.filter((d) => finite(d.low, d.high) && (alsoSmall || !d.small || d.low > 0 || d.high < 0));
    const floor = data.noiseFloor ?? 0;
    const low = Math.min(-floor, 0, ...shown.map((d) => d.low));
    const high = Math.max(floor, 0, ...shown.map((d) => d.high));
    const room = Math.max(0.5, (high - low) * 0.04);
    // Where an interval goes beyond the scale, the scale ends at the same distance on both sides.
    const cut = dots.some((d) => finite(d.low, d.high) && (d.low < low - room || d.high > high + room));
    const far = Math.max(-low, high) + room;
    return cut ? [-far, far] : [low - room, high + room];
  }

  function zeroAndFloor(y1, y2) {
    const marks = [];
    if (data.noiseFloor) marks.push(Plot.rect([0], { x1: -data.noiseFloor, x2: data.noiseFloor, y1, y2, fill: "var(--band)", fillOpacity: 0.55 }));
    marks.push(Plot.ruleX([0], { y1, y2, stroke: "var(--ink)", strokeWidth: 1.2 }));
    return marks;
  }

  function strip(target) {
    const run = data.runs[Page.words.runs[0]];
    const many = Page.words.runs.length > 1;
    const dots = many
      ? [...data.means.map((mean) => ({ ...mean, label: mean.title, strong: true })),
        ...Page.words.runs.map((name) => ({ ...data.runs[name].changes.find((c) => c.kind === "overall"), label: name }))]
      : [{ ...run?.changes.find((c) => c.kind === "overall"), label: "", strong: true }];
    const shown = dots.filter((d) => finite(d.delta));
    if (!shown.length) return target.remove();
    const size = rem();
    const row = 2.1 * size;
    const labels = many ? Math.min(0.42 * target.clientWidth, Math.max(...shown.map((d) => d.label.length)) * 0.56 * size + 1.2 * size) : 0.6 * size;
    const height = shown.length * row;
    const y = (d) => (shown.indexOf(d) + 0.5) * row;
    place(target, Plot.plot({
      width: Math.max(240, target.clientWidth), height: height + 2.4 * size,
      marginLeft: labels, marginRight: size, marginTop: 2, marginBottom: 2.4 * size,
      style: style(),
      x: { domain: extent(shown, true), label: null, tickFormat: signed, grid: true, ticks: Math.max(3, Math.floor(target.clientWidth / 130)) },
      y: { type: "linear", domain: [height, 0], axis: null }, ...asIs,
      marks: [
        ...zeroAndFloor(0, height),
        Plot.link(shown.filter((d) => finite(d.low, d.high)), { x1: "low", x2: "high", y1: y, y2: y, stroke: colour, strokeWidth: (d) => (d.strong ? 0.25 : 0.14) * size, strokeLinecap: "round" }),
        Plot.dot(shown, { x: "delta", y, r: (d) => (d.strong ? 0.44 : 0.3) * size, fill: colour, stroke: "var(--raised)", strokeWidth: 1.5 }),
        many ? Plot.text(shown, { y, text: (d) => Page.visible(d.label).slice(0, 32), frameAnchor: "left", dx: -labels, textAnchor: "start", fill: "var(--ink)", fontWeight: (d) => (d.strong ? 650 : 400) }) : null,
        Plot.axisX({ label: "change of the Overall, points", labelAnchor: "center", labelArrow: "none", labelOffset: 2.1 * size, tickFormat: signed, color: "var(--soft)", ticks: Math.max(3, Math.floor(target.clientWidth / 130)) }),
      ],
    }));
  }

  // A category stands below its group, so the group's name need not be said again.
  const shortTitle = (d) => {
    if (d.kind !== "category") return d.title;
    const text = Page.visible(d.title).replace(/^(Multi-turn|Live) /, "");
    return "\u2002" + text.slice(0, 1).toUpperCase() + text.slice(1);
  };

  function forest(target) {
    const changes = data.runs[target.dataset.run]?.changes.filter((d) => finite(d.delta)) ?? [];
    if (!changes.length) return;
    const size = rem();
    const table = target.parentElement.querySelector("table");
    const beside = !printing && target.getBoundingClientRect().left > table.getBoundingClientRect().right - 8;
    const rows = new Map();
    let height, top = 0;
    if (beside) {
      // One row of the chart per row of the table, at the same height.
      const origin = target.getBoundingClientRect().top;
      for (const row of table.tBodies[0].rows) {
        const box = row.getBoundingClientRect();
        rows.set(row.dataset.name, box.top - origin + box.height / 2);
        height = box.bottom - origin;
      }
      top = table.tBodies[0].getBoundingClientRect().top - origin;
    } else {
      changes.forEach((d, i) => rows.set(d.name, (i + 0.5) * 1.7 * size));
      height = changes.length * 1.7 * size;
    }
    const width = Math.max(250, target.clientWidth);
    const labels = beside ? 6 : Math.min(0.45 * width, 9.5 * size);
    const domain = extent(changes, false);
    const y = (d) => rows.get(d.name);
    const cut = (x) => Math.max(domain[0], Math.min(domain[1], x));
    const ticks = Math.max(4, Math.floor((width - labels) / 70));
    const inside = changes.filter((d) => d.delta >= domain[0] && d.delta <= domain[1]);
    const outside = changes.filter((d) => !inside.includes(d));
    const bottom = 2.5 * size;
    place(target, Plot.plot({
      width, height: height + bottom, marginLeft: labels, marginRight: 12, marginTop: 0, marginBottom: bottom,
      style: style(),
      x: { domain, label: null, axis: null },
      y: { type: "linear", domain: [height, 0], axis: null }, ...asIs,
      marks: [
        Plot.gridX({ ticks, strokeOpacity: 0.16, y1: top }),
        ...zeroAndFloor(top, height),
        Plot.link(changes.filter((d) => finite(d.low, d.high)), {
          x1: (d) => cut(d.low), x2: (d) => cut(d.high), y1: y, y2: y, stroke: colour,
          strokeWidth: (d) => (d.kind === "category" ? 0.1 : 0.19) * size, strokeOpacity: (d) => (d.small ? 0.8 : 1), strokeLinecap: "round",
        }),
        Plot.dot(inside, {
          x: "delta", y, r: (d) => (d.kind === "overall" ? 0.42 : d.kind === "group" ? 0.35 : 0.25) * size,
          symbol: (d) => (d.kind === "overall" ? "diamond2" : "circle"),
          fill: (d) => (d.small ? "var(--paper)" : colour(d)), stroke: (d) => (d.small ? colour(d) : "var(--paper)"), strokeWidth: 1.4,
        }),
        // A small category may lie outside of the scale: an arrow says where.
        // An interval that goes on beyond the scale ends in an arrow.
        Plot.text(changes.filter((d) => finite(d.low) && d.low < domain[0]), { x: domain[0], y, text: () => "◂", fill: colour }),
        Plot.text(changes.filter((d) => finite(d.high) && d.high > domain[1]), { x: domain[1], y, text: () => "▸", fill: colour }),
        Plot.text(outside, { x: (d) => cut(d.delta), y, text: (d) => (d.delta > 0 ? "▸" : "◂"), fill: "var(--mute-dot)" }),
        beside ? null : Plot.text(changes, { y, text: shortTitle, frameAnchor: "left", dx: -labels, textAnchor: "start", fill: (d) => (d.small ? "var(--faint)" : "var(--ink)"), fontWeight: (d) => (d.kind === "category" ? 400 : 650) }),
        Plot.axisX({ ticks, tickFormat: signed, label: "points", labelAnchor: "center", labelArrow: "none", labelOffset: 2.1 * size, color: "var(--soft)" }),
        Plot.tip(changes, Plot.pointer({ x: (d) => cut(d.delta), y, title: (d) => `${d.title}\n${signed(+d.delta.toFixed(1))} points` + (finite(d.low, d.high) ? `\ninterval: ${signed(+d.low.toFixed(1))} to ${signed(+d.high.toFixed(1))}` : "") + (d.small ? "\ntoo small to tell" : ""), fill: "var(--raised)" })),
      ],
    }));
  }

  function frame(target, more) {
    const size = rem();
    const width = Math.max(250, target.clientWidth);
    return {
      width, height: Math.round(Math.min(17 * size, Math.max(13 * size, 0.5 * width))),
      marginLeft: 2.9 * size, marginRight: 1.4 * size, marginTop: 1.5 * size, marginBottom: 2.5 * size, style: style(),
      ...more,
    };
  }

  function resumeMarks(training, size) {
    return [
      Plot.ruleX(training.resumes, { stroke: "var(--faint)", strokeDasharray: "3,3" }),
      Plot.text(training.resumes.slice(0, 1), { x: (d) => d, frameAnchor: "top", text: () => (training.resumes.length > 1 ? `resumed ${training.resumes.length} times` : "resumed"), dy: -0.9 * size, fill: "var(--faint)" }),
    ];
  }

  /* Both curves of a run stand on the same steps. */
  const steps = (training) => [0, Math.max(1, ...[...training.reward, ...training.accuracy].map(([step]) => step))];

  /* The word beside what marks the chosen checkpoint, towards the middle of the chart. */
  function chosenWord(training, points, options) {
    const right = training.chosen > steps(training)[1] / 2;
    const size = rem();
    return Plot.text(points, { text: () => "chosen", fill: "var(--ink)", fontWeight: 600, textAnchor: right ? "end" : "start", dx: (right ? -0.5 : 0.5) * size, ...options });
  }

  const stepAxis = (size, width) => Plot.axisX({ label: "step", labelAnchor: "right", labelArrow: "none", labelOffset: 2.1 * size, color: "var(--soft)", ticks: Math.floor(width / 80), tickFormat: (x) => (Number.isInteger(x) ? String(x) : "") });

  function reward(target) {
    const training = data.runs[target.dataset.run]?.training;
    if (!training?.reward.length) return;
    const size = rem();
    const points = training.reward;
    const window = training.window;
    const options = frame(target, {});
    place(target, Plot.plot({
      ...options,
      x: { label: null, domain: steps(training) }, y: { label: null, nice: true, grid: true, ticks: 5 },
      marks: [
        ...resumeMarks(training, size),
        training.chosen ? Plot.ruleX([training.chosen], { stroke: "var(--after)", strokeOpacity: 0.6 }) : null,
        training.chosen ? chosenWord(training, [training.chosen], { x: (d) => d, frameAnchor: "bottom", dy: -0.3 * size }) : null,
        points.length > 60 ? Plot.line(points, { stroke: "var(--before)", strokeWidth: 1, strokeOpacity: 0.7 }) : Plot.dot(points, { fill: "var(--before)", r: 2 }),
        Plot.line(points, Plot.windowY({ k: window, anchor: "middle" }, { x: "0", y: "1", stroke: "var(--after)", strokeWidth: 2.4 })),
        stepAxis(size, options.width),
        Plot.tip(points, Plot.pointerX({ x: "0", y: "1", title: (d) => `step ${d[0]}\nreward ${d[1].toFixed(3)}`, fill: "var(--raised)" })),
      ],
    }));
  }

  function accuracy(target) {
    const training = data.runs[target.dataset.run]?.training;
    if (!training?.accuracy.length) return;
    const size = rem();
    const n = training.validationItems;
    const points = training.accuracy.map(([step, value]) => ({
      step, value: 100 * value, error: n ? 100 * Math.sqrt(Math.max(0, value * (1 - value)) / n) : null, chosen: step === training.chosen,
    }));
    const chosen = points.filter((d) => d.chosen);
    const options = frame(target, {});
    place(target, Plot.plot({
      ...options,
      x: { label: null, domain: steps(training) }, y: { label: null, nice: true, grid: true, ticks: 5 },
      marks: [
        ...resumeMarks(training, size),
        points[0]?.step === 0 ? Plot.ruleY([points[0].value], { stroke: "var(--before)", strokeDasharray: "1,4", strokeWidth: 1.5 }) : null,
        Plot.ruleX(points.filter((d) => d.error !== null), { x: "step", y1: (d) => d.value - d.error, y2: (d) => d.value + d.error, stroke: "var(--after)", strokeOpacity: 0.45, strokeWidth: 2 }),
        Plot.line(points, { x: "step", y: "value", stroke: "var(--after)", strokeWidth: 2 }),
        Plot.dot(points, { x: "step", y: "value", fill: "var(--after)", r: 3 }),
        Plot.dot(chosen, { x: "step", y: "value", r: 8, stroke: "var(--ink)", strokeWidth: 2 }),
        chosenWord(training, chosen, { x: "step", y: "value", dy: 1.4 * size }),
        stepAxis(size, options.width),
        Plot.tip(points, Plot.pointerX({ x: "step", y: "value", title: (d) => `step ${d.step}\n${d.value.toFixed(1)} %` + (d.error === null ? "" : ` ± ${d.error.toFixed(1)}`), fill: "var(--raised)" })),
      ],
    }));
  }

  function calls(target) {
    const rows = data.runs[target.dataset.run]?.calls ?? [];
    if (!rows.length) return;
    const size = rem();
    const long = rows.flatMap(([label, before, after]) => [
      { label, side: "before", n: before }, { label, side: "after", n: after },
    ]);
    const width = Math.max(250, target.clientWidth);
    place(target, Plot.plot({
      width, height: 15 * size, marginLeft: 3.2 * size, marginBottom: 2.6 * size, marginTop: size, style: style(),
      fx: { domain: rows.map((r) => r[0]), label: "calls", padding: 0, labelArrow: "none" },
      x: { domain: ["", "before", "after", " "], axis: null, padding: 0.06 },
      y: { label: null, grid: true, ticks: 5, tickFormat: "d" },
      marks: [
        Plot.barY(long, { fx: "label", x: "side", y: "n", fill: (d) => `var(--${d.side})` }),
        Plot.ruleY([0], { stroke: "var(--strong-line)" }),
        Plot.tip(long, Plot.pointer({ fx: "label", x: "side", y: "n", title: (d) => `${d.label} calls\n${d.n} answers ${d.side}`, fill: "var(--raised)" })),
      ],
    }));
  }

  function stages(target) {
    const rows = data.stages.filter((d) => finite(d.seconds));
    if (!rows.length) return target.parentElement.remove();
    const size = rem();
    const longest = Math.max(...rows.map((d) => d.seconds));
    const [unit, divisor] = longest > 5400 ? ["hours", 3600] : longest > 120 ? ["minutes", 60] : ["seconds", 1];
    const width = Math.max(250, target.clientWidth);
    const labels = Math.min(0.45 * width, 10 * size);
    place(target, Plot.plot({
      width, height: rows.length * 2.1 * size + 2.6 * size, marginLeft: labels, marginRight: 1.2 * size, marginTop: 0, marginBottom: 2.6 * size, style: style(),
      x: { label: unit, labelArrow: "none", labelAnchor: "right", grid: true, ticks: 5, labelOffset: 2.2 * size },
      y: { domain: rows.map((d) => d.stage), axis: null, padding: 0.3 },
      marks: [
        Plot.barX(rows, { x: (d) => d.seconds / divisor, y: "stage", fill: "var(--after)", fillOpacity: 0.85 }),
        Plot.text(rows, { y: "stage", text: (d) => Page.visible(d.stage), frameAnchor: "left", dx: -labels, textAnchor: "start", fill: "var(--ink)" }),
        Plot.ruleX([0], { stroke: "var(--strong-line)" }),
      ],
    }));
  }

  const DRAW = { strip, forest, reward, accuracy, calls, stages };

  function draw(target) {
    if (!target.clientWidth) return;
    try {
      DRAW[target.dataset.chart](target);
    } catch (error) {
      target.replaceChildren(Page.element("p", { class: "empty" }, "This chart could not be drawn; its numbers are in the tables."));
      console.error(error);
    }
  }

  function start() {
    const targets = [...document.querySelectorAll("[data-chart]")];
    const widths = new Map();
    const resized = new ResizeObserver((entries) => {
      for (const { target } of entries) {
        if (widths.get(target) === target.clientWidth) continue;
        widths.set(target, target.clientWidth);
        draw(target);
      }
    });
    for (const target of targets) resized.observe(target);
    let unfolded = [];
    // On paper every run is shown, at the width of a page.
    const redraw = (now) => {
      printing = now;
      document.documentElement.classList.toggle("printing", now);
      targets.forEach(draw);
      // Nobody can unfold paper. Only lists that are long for paper stay folded.
      for (const box of now ? document.querySelectorAll("#training details:not([open]), #behaviour details:not([open]), #trust details:not([open])") : unfolded) {
        box.open = now;
        if (now) unfolded.push(box);
      }
      if (!now) unfolded = [];
    };
    addEventListener("beforeprint", () => redraw(true));
    addEventListener("afterprint", () => redraw(false));
  }

  return { start };
})();
