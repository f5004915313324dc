/* The items: unpacking, filters, pages, one item in full, links, the table as CSV. */
"use strict";

const Items = (() => {
  const { byId, element, words } = Page;
  const SIZE = 25;
  // Places in a row of the data; see report/items.py.
  const [CATEGORY, ID, OCCURRENCE, TURNS, TOOLS, EXPECTED, SIDES] = [0, 1, 2, 3, 4, 5, 6];
  const [VALID, STRICT, ERROR, MESSAGE, ANSWER, CUT, CALLS, FLAGS, PROMPT, COMPLETION, LATENCY, FINISH, REPEATS] = [...Array(13).keys()];
  const BADGES = { gained: "▲ gained", lost: "▼ lost", right: "right", wrong: "wrong", unpaired: "one side" };

  let data = null;
  let haystack = null;
  let change = [];
  let found = [];
  let page = 0;
  let open = null;
  let view = { change: "changed", category: "", error: "", text: "", from: "", to: "" };

  const category = (row) => data.categories[row[CATEGORY]];
  const categoryTitle = (name) => words.categories[name] ?? name;
  const errorTitle = (kind) => words.errors[kind] ?? kind;
  const keyOf = (row) => `${category(row)}/${row[ID]}/${row[OCCURRENCE]}`;
  const sides = (row) => [row[SIDES][0], row[SIDES][data.sides.indexOf(Page.run())]];
  const holdsRun = () => data.sides.includes(Page.run());
  const kindOf = (side) => (side[VALID] === 1 ? "correct" : data.errors[side[ERROR]] || "not given");

  function changeOf(row) {
    const [before, after] = sides(row);
    if (!before || !after) return "unpaired";
    if (before[VALID] !== after[VALID]) return after[VALID] > before[VALID] ? "gained" : "lost";
    return before[VALID] === 1 ? "right" : "wrong";
  }

  const messages = (row) => (row[TURNS] ?? []).flat().map((message) => String(message?.content ?? ""));

  function texts() {
    haystack ??= data.items.map((row) =>
      [keyOf(row), ...messages(row), row[EXPECTED], ...row[SIDES].flatMap((side) => (side ? [side[ANSWER], side[MESSAGE]] : []))]
        .join("\n").toLowerCase());
    return haystack;
  }

  // -- filters

  function matrixKind(side, wanted) {
    const kind = kindOf(side);
    if (wanted !== "other errors") return kind === wanted;
    return !matrixKinds().has(kind);
  }

  function matrixKinds() {
    const block = [...document.querySelectorAll(".of-run")].find((one) => one.dataset.run === Page.run() && one.querySelector(".matrix"));
    return new Set([...(block?.querySelectorAll(".matrix tbody th") ?? [])].map((th) => th.title));
  }

  function filter() {
    const text = view.text.trim().toLowerCase();
    const stacks = text ? texts() : null;
    const counts = { changed: 0, gained: 0, lost: 0, right: 0, wrong: 0, all: 0 };
    found = [];
    if (holdsRun()) data.items.forEach((row, i) => {
      if (view.category && category(row) !== view.category) return;
      const [before, after] = sides(row);
      if (view.error && !(before && kindOf(before) === view.error) && !(after && kindOf(after) === view.error)) return;
      if (view.from && !(before && matrixKind(before, view.from))) return;
      if (view.to && !(after && matrixKind(after, view.to))) return;
      if (text && !stacks[i].includes(text)) return;
      const kind = change[i];
      counts.all += 1;
      if (kind in counts) counts[kind] += 1;
      const changed = kind === "gained" || kind === "lost";
      if (changed) counts.changed += 1;
      if (view.change === "all" || view.change === kind || (view.change === "changed" && changed)) found.push(i);
    });
    for (const [name, n] of Object.entries(counts)) document.querySelector(`[data-count="${name}"]`).textContent = n;
    page = 0;
    open = null;
  }

  function fillForm() {
    const form = byId("filters");
    form.elements.change.value = view.change;
    for (const name of ["category", "error", "text"]) form.elements[name].value = view[name];
  }

  function options() {
    const form = byId("filters");
    form.elements.category.replaceChildren(element("option", { value: "" }, "All"),
      ...data.categories.map((name) => element("option", { value: name }, categoryTitle(name))));
    const kinds = new Map();
    for (const row of data.items) for (const side of sides(row)) if (side && side[VALID] !== 1) kinds.set(kindOf(side), (kinds.get(kindOf(side)) ?? 0) + 1);
    form.elements.error.replaceChildren(element("option", { value: "" }, "All"),
      ...[...kinds].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([kind]) => element("option", { value: kind }, errorTitle(kind))));
  }

  // -- list

  function render() {
    const list = byId("item-list");
    const pages = Math.max(1, Math.ceil(found.length / SIZE));
    page = Math.max(0, Math.min(page, pages - 1));
    list.replaceChildren(...found.slice(page * SIZE, (page + 1) * SIZE).map(listed));
    byId("found").textContent = found.length === data.items.length ? `All ${found.length} items` : `${found.length} of ${data.items.length} items`;
    const path = byId("path");
    path.hidden = !(view.from || view.to);
    if (!path.hidden) {
      path.replaceChildren(`${view.from ? errorTitle(view.from) : "any"} → ${view.to ? errorTitle(view.to) : "any"} `,
        element("button", { type: "button", class: "quiet", on: { click: () => apply({ from: "", to: "" }) } }, "✕ clear"));
    }
    const state = byId("items-state");
    state.hidden = found.length > 0;
    if (!found.length) state.textContent = emptiness();
    const pager = byId("pager");
    pager.hidden = pages < 2;
    byId("pages").textContent = `Page ${page + 1} of ${pages}`;
    for (const button of pager.querySelectorAll("button")) button.disabled = ["first", "previous"].includes(button.dataset.go) ? page === 0 : page === pages - 1;
  }

  function emptiness() {
    if (!data.items.length) return "This page holds no items.";
    return holdsRun() ? "No item fits these filters." : `This page does not hold the items of ${Page.run()}; results/evaluations/${Page.run()}/items.csv does.`;
  }

  function listed(index) {
    const row = data.items[index];
    const kind = change[index];
    const [before, after] = sides(row);
    const question = messages(row)[0] ?? "";
    const how = movement(kind, before, after);
    const head = element("button", { type: "button", class: "item-head", "aria-expanded": String(open === index), on: { click: () => toggle(index) } },
      element("span", { class: `badge ${kind}` }, BADGES[kind]),
      element("span", { class: "what" }, element("span", { class: "who" }, row[ID] + (row[OCCURRENCE] ? ` (item ${row[OCCURRENCE] + 1} of this id)` : "")), element("span", { class: "question" }, question.slice(0, 300))),
      element("span", { class: "how", title: how }, how));
    const made = element("li", { class: open === index ? "item open" : "item", "data-index": index }, head);
    if (open === index) made.append(body(row, index));
    return made;
  }

  /* What was or is wrong; the badge says the rest. */
  function movement(kind, before, after) {
    const [old, now] = [before, after].map((side) => (side ? errorTitle(kindOf(side)) : "not there"));
    if (kind === "right") return "";
    if (kind === "gained") return `before: ${old}`;
    if (kind === "lost") return `after: ${now}`;
    return old === now ? `both: ${old}` : `${old} → ${now}`;
  }

  function toggle(index) {
    const previous = open;
    open = open === index ? null : index;
    for (const changed of [previous, index]) {
      const old = byId("item-list").querySelector(`[data-index="${changed}"]`);
      if (old) old.replaceWith(listed(changed));
    }
    byId("item-list").querySelector(`[data-index="${index}"] .item-head`)?.focus({ preventScroll: true });
    history.replaceState(null, "", open === null ? "#items" : link(data.items[open]));
  }

  function link(row) {
    const key = [category(row), row[ID], row[OCCURRENCE]].map(encodeURIComponent).join("/");
    return `#item=${key}` + (words.runs.length > 1 ? `&run=${encodeURIComponent(Page.run())}` : "");
  }

  // -- one item in full

  function body(row, index) {
    const [before, after] = sides(row);
    const multi = category(row).startsWith("multi_turn");
    const parts = [multi ? conversation(row, before, after) : single(row, before, after)];
    parts.push(tools(row));
    const place = found.indexOf(index);
    parts.push(element("div", { class: "item-actions" },
      element("button", { type: "button", on: { click: (event) => copy(event.target, row) } }, "Copy link to this item"),
      element("button", { type: "button", disabled: place <= 0, on: { click: () => show(found[place - 1]) } }, "Previous item"),
      element("button", { type: "button", disabled: place < 0 || place >= found.length - 1, on: { click: () => show(found[place + 1]) } }, "Next item")));
    return element("div", { class: "item-body" }, parts);
  }

  function said(message) {
    return element("div", { class: "turn" }, element("span", { class: "role" }, String(message?.role ?? "")),
      element("div", { class: "said" }, typeof message?.content === "string" ? message.content : JSON.stringify(message?.content ?? "")));
  }

  function single(row, before, after) {
    const expected = Calls.expectedCalls(row[EXPECTED]);
    const wanted = expected ? expected.map(Calls.expectedCall) : [element("p", { class: "nothing" }, wantedWords(row))];
    return element("div", {},
      row[TURNS] ? row[TURNS].flat().map(said) : element("p", { class: "nothing" }, "The question was not recorded."),
      element("div", { class: "answers" },
        element("div", {}, element("h4", {}, "Expected"), wanted),
        answerBox("Before", before, () => given(row, before, expected)),
        answerBox("After", after, () => given(row, after, expected))));
  }

  /* What the harness accepts carries no marks. */
  function given(row, side, expected) {
    return Calls.givenAnswer(side[ANSWER], side[VALID] === 1 ? null : expected, category(row).startsWith("java"));
  }

  function wantedWords(row) {
    if (category(row).includes("irrelevance")) return "No call: none of the tools fits.";
    if (category(row).includes("live_relevance")) return "Any call: at least one of the tools fits.";
    return row[EXPECTED] && row[EXPECTED] !== "null" ? row[EXPECTED] : "Not recorded.";
  }

  function answerBox(title, side, content) {
    if (!side) return element("div", {}, element("h4", {}, title), element("p", { class: "nothing" }, "Not in this evaluation."));
    const right = side[VALID] === 1;
    const state = side[REPEATS].length ? `right in ${side[REPEATS].filter(Boolean).length} of ${side[REPEATS].length}` : right ? "✓ right" : "✗ wrong";
    return element("div", { class: right ? "ok" : "not" }, element("h4", {}, title, element("span", { class: "state" }, state)), content(), remarks(side));
  }

  function remarks(side) {
    const parts = [];
    if (side[CUT]) parts.push(element("p", { class: "nothing" }, `Cut here: the answer has ${side[CUT]} characters.`));
    if (side[REPEATS].length) parts.push(element("p", { class: "nothing" }, "The answer of the first repeat is shown."));
    if (side[VALID] !== 1) {
      const kind = kindOf(side);
      parts.push(element("div", { class: "fault" }, element("strong", {}, errorTitle(kind)), " ", errorTitle(kind) === kind ? null : element("code", {}, kind), side[MESSAGE] ? element("div", {}, side[MESSAGE]) : null));
    } else if (side[STRICT] !== 1) {
      parts.push(element("div", { class: "fault" }, "Right for the harness; the strict score does not credit it."));
    }
    const flags = side[FLAGS].map((i) => flag(data.flags[i]));
    const measures = [
      side[CALLS] === null ? null : `${side[CALLS]} ${side[CALLS] === 1 ? "call" : "calls"}`,
      side[COMPLETION] ? `${side[COMPLETION]} tokens` : null,
      side[PROMPT] ? `prompt ${side[PROMPT]}` : null,
      side[LATENCY] ? `${side[LATENCY].toFixed(2)} s` : null,
      side[FINISH] ? `finish: ${side[FINISH]}` : null,
    ].filter(Boolean);
    parts.push(element("p", { class: "measures" }, flags, measures.join(" · ")));
    return parts;
  }

  function flag(name) {
    const term = words.flags[name];
    const text = name.replaceAll("_", " ");
    return term
      ? element("a", { class: "flag term", href: `#term-${term}`, "aria-describedby": `term-${term}` }, text)
      : element("span", { class: "flag" }, text);
  }

  function conversation(row, before, after) {
    const expected = Calls.expectedTurns(row[EXPECTED]);
    const [old, now] = [before, after].map((side) => (side ? Calls.turns(side[ANSWER]) : null));
    const count = Math.max(row[TURNS]?.length ?? 0, expected?.length ?? 0, old?.length ?? 0, now?.length ?? 0);
    const rounds = [...Array(count).keys()].map((i) => element("div", { class: "round" },
      (row[TURNS]?.[i] ?? []).length ? row[TURNS][i].map(said) : element("p", { class: "nothing" }, `Turn ${i + 1}: no message; held-back tools are handed over.`),
      element("div", { class: "answers" },
        element("div", {}, element("h4", {}, "Expected"), expected?.[i]?.length ? expected[i].map((one) => element("div", { class: "call" }, String(one))) : element("p", { class: "nothing" }, "No call.")),
        [["Before", before, old], ["After", after, now]].map(([title, side, turns]) =>
          element("div", {}, element("h4", {}, title), turns ? Calls.givenSteps(turns[i], side[VALID] === 1 ? null : expected?.[i]) : element("p", { class: "nothing" }, side ? "See above." : "Not in this evaluation."))))));
    return element("div", {},
      element("div", { class: "answers" },
        element("div", {}, element("h4", {}, "Result"), element("p", { class: "nothing" }, `${count} ${count === 1 ? "turn" : "turns"}; in a wrong answer, what differs from the expected calls of the turn is marked. Other calls may be right too: the harness compares what they lead to.`)),
        answerBox("Before", before, () => (old ? [] : Calls.givenAnswer(before[ANSWER], null))),
        answerBox("After", after, () => (now ? [] : Calls.givenAnswer(after[ANSWER], null)))), rounds);
  }

  function tools(row) {
    if (!row[TOOLS]) return element("p", { class: "measures" }, "The tools are not in this page.");
    const box = element("details", {}, element("summary", {}, `Tools (${row[TOOLS].length})`));
    // Up to a hundred tools: made only when somebody looks.
    box.addEventListener("toggle", () => {
      if (box.open && box.children.length === 1) box.append(...row[TOOLS].map((i) => tool(data.tools[i])));
    });
    return box;
  }

  function tool(one) {
    const about = one?.parameters ?? {};
    const needed = new Set(Array.isArray(about.required) ? about.required : []);
    const fields = Object.entries(about.properties ?? {}).map(([name, field]) => element("li", {},
      element("code", {}, name), ` ${field?.type ?? ""}${needed.has(name) ? "" : ", optional"}`,
      Array.isArray(field?.enum) ? ` (${field.enum.map((value) => JSON.stringify(value)).join(", ")})` : "",
      field?.description ? `: ${field.description}` : ""));
    return element("div", { class: "tool" }, element("code", {}, String(one?.name ?? "unnamed")), element("p", {}, String(one?.description ?? "")), fields.length ? element("ul", {}, fields) : null);
  }

  async function copy(button, row) {
    const address = location.href.split("#")[0] + link(row);
    history.replaceState(null, "", link(row));
    try {
      await navigator.clipboard.writeText(address);
      button.textContent = "Copied";
    } catch {
      button.textContent = "The link is in the address bar";
    }
  }

  // -- moving about

  function show(index) {
    const place = found.indexOf(index);
    if (place < 0) return;
    page = Math.floor(place / SIZE);
    open = index;
    render();
    const shown = byId("item-list").querySelector(`[data-index="${index}"]`);
    shown?.scrollIntoView({ block: "start" });
    shown?.querySelector(".item-head").focus({ preventScroll: true });
    history.replaceState(null, "", link(data.items[index]));
  }

  function apply(update) {
    view = { ...view, ...update };
    fillForm();
    filter();
    render();
  }

  function follow() {
    const state = Page.state();
    if (state.has("item")) {
      const key = state.get("item");
      const index = data.items.findIndex((row) => keyOf(row) === key);
      if (index < 0) { byId("found").textContent = `There is no item ${Page.visible(key)} in this report.`; return byId("items").scrollIntoView(); }
      if (open === index && found.includes(index)) return;
      apply({ change: "all", category: "", error: "", text: "", from: "", to: "" });
      return show(index);
    }
    if (state.has("filter")) {
      const known = ["changed", "gained", "lost", "right", "wrong", "all"];
      apply({
        change: known.includes(state.get("filter")) ? state.get("filter") : "changed",
        category: state.get("category") ?? "", error: state.get("error") ?? "", text: state.get("text") ?? "",
        from: state.get("from") ?? "", to: state.get("to") ?? "",
      });
      byId("filters").scrollIntoView();
    }
  }

  function ofRun() {
    change = data.items.map(changeOf);
    options();
    apply({});
  }

  // -- the table as a file

  const cell = (value) => {
    let text = value === null || value === undefined ? "" : String(value);
    // A spreadsheet would run text that looks like a formula.
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  async function table() {
    await ready;
    const columns = ["valid", "strict_valid", "error_type", "calls", "completion_tokens", "latency_s", "answer"];
    const head = ["category", "id", "occurrence", ...data.sides.flatMap((side) => columns.map((name) => `${side}_${name}`)), "expected"];
    const lines = data.items.map((row) => [
      category(row), row[ID], row[OCCURRENCE],
      ...row[SIDES].flatMap((side) => (side ? [side[VALID], side[STRICT], data.errors[side[ERROR]], side[CALLS], side[COMPLETION], side[LATENCY], side[ANSWER]] : columns.map(() => null))),
      row[EXPECTED],
    ].map(cell).join(","));
    return [head.map(cell).join(","), ...lines].join("\r\n") + "\r\n";
  }

  let ready = Promise.resolve();

  async function load() {
    const state = byId("items-state");
    if (typeof DecompressionStream === "undefined") {
      state.textContent = "This browser cannot unpack the items (it has no DecompressionStream). They are in results/evaluations/*/items.csv.";
      return;
    }
    try {
      data = JSON.parse(await Page.unpacked("item-data"));
    } catch (error) {
      state.textContent = "The items in this file are damaged and cannot be shown. They are in results/evaluations/*/items.csv.";
      console.error(error);
      return;
    }
    byId("filters").hidden = false;
    document.querySelector(".list-head").hidden = false;
    change = data.items.map(changeOf);
    options();
    // Where nothing changed, a list of changes would be empty.
    if (!change.some((kind) => kind === "gained" || kind === "lost")) view.change = "all";
    apply({});
    follow();
    addEventListener("hashchange", follow);
    Page.onRun(ofRun);
    // So that the first search is as quick as the next.
    (window.requestIdleCallback ?? setTimeout)(() => texts());
  }

  function start() {
    const form = byId("filters");
    if (!form) return;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => {
      const values = new FormData(form);
      apply({ change: values.get("change"), category: values.get("category"), error: values.get("error"), text: values.get("text") });
    });
    byId("pager").addEventListener("click", (event) => {
      const go = event.target.closest("button")?.dataset.go;
      if (!go) return;
      page = { first: 0, previous: page - 1, next: page + 1, last: Infinity }[go];
      open = null;
      render();
      byId("filters").scrollIntoView();
    });
    ready = load();
  }

  return { start, table };
})();

Page.start();
Charts.start();
Items.start();
