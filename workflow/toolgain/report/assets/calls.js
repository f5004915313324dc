/* Reads answers and expected calls of every form that the harness knows, and marks differences. */
"use strict";

const Calls = (() => {
  const { element } = Page;

  const parse = (text) => { try { return JSON.parse(text); } catch { return undefined; } };
  const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

  /* One call as {name, args}, or null where `value` is none. Arguments may be JSON text. */
  function call(value) {
    if (!isObject(value)) return null;
    const names = Object.keys(value);
    if (names.length !== 1) return null;
    const inner = value[names[0]];
    const args = typeof inner === "string" ? parse(inner) : inner;
    if (isObject(args)) return { name: names[0], args };
    return { name: names[0], args: null, raw: typeof inner === "string" ? inner : JSON.stringify(inner) };
  }

  /* An answer as {calls} or {text}. */
  function answer(text) {
    const value = parse(text);
    if (value === undefined) return { text };
    if (typeof value === "string") return { text: value };
    if (Array.isArray(value) && value.length && value.every((part) => call(part))) return { calls: value.map(call) };
    if (value === null || (Array.isArray(value) && !value.length)) return { text: "" };
    return { text: JSON.stringify(value, null, 1) };
  }

  /* A multi-turn answer as turns of steps; a step is {calls} or {text}. */
  function turns(text) {
    const value = parse(text);
    if (!Array.isArray(value) || !value.every(Array.isArray)) return null;
    return value.map((steps) => steps.map((step) => {
      if (typeof step === "string") return { text: step };
      if (Array.isArray(step)) return { calls: step.map((part) => (typeof part === "string" ? { code: part } : call(part) ?? { code: JSON.stringify(part) })) };
      return { text: JSON.stringify(step) };
    }));
  }

  const shown = (value) => (typeof value === "string" ? JSON.stringify(value) : JSON.stringify(value) ?? "null");

  // The harness compares texts without case and the punctuation below.
  const plain = (value) => (typeof value === "string" ? value.replace(/[ ,./\-_*^]/g, "").toLowerCase().replaceAll("'", '"') : value);

  function same(a, b) {
    if (typeof a === "string" && typeof b === "string") return plain(a) === plain(b);
    if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((part, i) => same(part, b[i]));
    if (isObject(a) && isObject(b)) {
      const keys = Object.keys(a);
      return keys.length === Object.keys(b).length && keys.every((key) => key in b && same(a[key], b[key]));
    }
    return a === b;
  }

  // Arguments of Java and JavaScript come as source text.
  const source = (value) => plain(typeof value === "string" ? value : JSON.stringify(value));

  /* Whether `value` is one of the `allowed`; allowed values of objects list values by key. */
  function accepted(value, allowed) {
    return allowed.some((one) => {
      if (isObject(value) && isObject(one)) {
        return Object.keys(value).every((key) => key in one && (Array.isArray(one[key]) ? accepted(value[key], one[key]) : same(value[key], one[key])));
      }
      if (Array.isArray(value) && Array.isArray(one) && value.length === one.length && value.some(isObject)) {
        return value.every((part, i) => accepted(part, [one[i]]));
      }
      return same(value, one);
    });
  }

  const optional = (allowed) => allowed.some((one) => one === "");

  function sameName(a, b) { return a === b || a.replaceAll(".", "_") === b.replaceAll(".", "_"); }

  /* Pair given calls with expected ones: by order where there is one, by name and fit otherwise. */
  function paired(given, expected) {
    const left = expected.map((_, i) => i);
    return given.map((one, i) => {
      if (expected.length === 1) return i === 0 ? expected[0] : null;
      const fit = (j) => {
        const other = expected[j];
        if (!sameName(one.name, other.name)) return -1;
        const args = one.args ?? {};
        return Object.entries(other.args).filter(([key, allowed]) => key in args && accepted(args[key], allowed)).length;
      };
      const best = left.map((j) => [fit(j), -j, j]).filter(([score]) => score >= 0).sort((a, b) => b[0] - a[0] || b[1] - a[1])[0];
      if (!best) return null;
      left.splice(left.indexOf(best[2]), 1);
      return expected[best[2]];
    });
  }

  /* The expected calls of single-turn items, {name, args: {key: [allowed…]}}. */
  function expectedCalls(text) {
    const value = parse(text);
    if (!Array.isArray(value)) return null;
    const found = value.map((part) => (isObject(part) ? call(part) : null)).filter((part) => part?.args);
    if (!found.length) return null;
    for (const one of found) for (const key of Object.keys(one.args)) if (!Array.isArray(one.args[key])) one.args[key] = [one.args[key]];
    return found;
  }

  function expectedTurns(text) {
    const value = parse(text);
    return Array.isArray(value) && value.every(Array.isArray) ? value : null;
  }

  // -- elements

  const argument = (key, value, wrong, note) => element("span", { class: "argument" },
    element("span", { class: "key" }, key), " = ", wrong ? element("mark", { title: note ?? "" }, value) : value);

  function expectedCall(one) {
    const lines = Object.entries(one.args).map(([key, allowed]) => {
      const values = allowed.filter((value) => value !== "");
      const parts = values.slice(0, 6).flatMap((value, i) => (i ? [element("span", { class: "or" }, " or "), shown(value)] : [shown(value)]));
      if (values.length > 6) parts.push(element("span", { class: "or" }, ` or ${values.length - 6} more`));
      if (optional(allowed)) parts.push(element("span", { class: "or" }, values.length ? " or left out" : "left out"));
      return element("span", { class: "argument" }, key, " = ", parts);
    });
    return element("div", { class: "call" }, element("span", { class: "name" }, one.name), "(", lines, ")");
  }

  /* A given call; what differs from the expected call (if any) or from the other side is marked. */
  function givenCall(one, wanted, hasExpected, asSource) {
    if (one.code !== undefined) return element("div", { class: "call" }, one.code);
    const strange = hasExpected && (!wanted || !sameName(one.name, wanted.name));
    const name = strange ? element("mark", { class: "name", title: wanted ? `expected: ${wanted.name}` : "not expected" }, one.name) : element("span", { class: "name" }, one.name);
    if (!one.args) return element("div", { class: "call" }, name, "(", element("mark", {}, one.raw ?? ""), ")");
    const lines = Object.entries(one.args).map(([key, value]) => {
      const known = wanted && sameName(one.name, wanted.name);
      const fits = (allowed) => accepted(value, allowed) || (asSource && allowed.some((each) => source(each) === source(value)));
      const wrong = known && !(key in wanted.args && fits(wanted.args[key]));
      const note = !known ? "" : key in wanted.args ? `expected: ${wanted.args[key].map(shown).join(" or ")}` : "not expected";
      return argument(key, shown(value), wrong, note);
    });
    if (wanted && sameName(one.name, wanted.name)) {
      for (const [key, allowed] of Object.entries(wanted.args)) {
        if (!(key in one.args) && !optional(allowed)) lines.push(element("span", { class: "argument" }, element("mark", { class: "missing" }, `${key} is missing`)));
      }
    }
    return element("div", { class: "call" }, name, "(", lines, ")");
  }

  /* A single-turn answer; without `expected` nothing is marked. */
  function givenAnswer(text, expected, asSource) {
    const given = answer(text);
    if (given.calls) {
      const wanted = expected ? paired(given.calls, expected) : [];
      const parts = given.calls.map((one, i) => givenCall(one, wanted[i], Boolean(expected), asSource));
      if (expected && given.calls.length < expected.length) parts.push(element("p", { class: "call" }, element("mark", { class: "missing" }, `${expected.length - given.calls.length} of ${expected.length} calls missing`)));
      return parts;
    }
    if (!given.text?.trim()) return [element("p", { class: "nothing" }, "No call and no text.")];
    return [element("div", { class: "said-text", tabindex: given.text.length > 900 ? "0" : null }, given.text)];
  }

  const code = (one) => one.code ?? `${one.name}(${one.args ? Object.entries(one.args).map(([k, v]) => `${k}=${shown(v)}`).join(", ") : one.raw ?? ""})`;
  // Python and JSON write quotes, space and nothing differently.
  const bare = (text) => text.replace(/[\s"']/g, "").toLowerCase().replaceAll("none", "null");

  /* `name(key=value, …)` as {name, args: Map of texts}; null where it reads otherwise. */
  function keyed(text) {
    const found = /^([\w.]+)\(([^]*)\)$/.exec(text.trim());
    if (!found) return null;
    const pieces = [""];
    let depth = 0, quote = null, escaped = false;
    for (const c of found[2]) {
      if (quote) {
        if (c === quote && !escaped) quote = null;
        escaped = c === "\\" && !escaped;
      } else if (c === '"' || c === "'") quote = c;
      else if ("([{".includes(c)) depth += 1;
      else if (")]}".includes(c)) depth -= 1;
      if (c === "," && !depth && !quote) pieces.push("");
      else pieces[pieces.length - 1] += c;
    }
    const args = new Map();
    for (const piece of pieces.filter((one) => one.trim())) {
      const pair = /^\s*(\w+)\s*=([^]*)$/.exec(piece);
      if (!pair) return null;
      args.set(pair[1], pair[2].trim());
    }
    return { name: found[1], args };
  }

  /* A call that the expected turn does not hold: where that has one of its name, arguments are marked. */
  function strangeCall(written, expected) {
    const one = keyed(written);
    const fits = (other) => [...other.args].filter(([key, value]) => one.args.has(key) && bare(one.args.get(key)) === bare(value)).length;
    const nearest = one && expected.map(keyed).filter((other) => other && sameName(other.name, one.name)).sort((a, b) => fits(b) - fits(a))[0];
    if (!nearest) return element("div", { class: "call" }, element("mark", { title: "not expected in this turn" }, written));
    const parts = [...one.args].map(([key, value]) => {
      const wanted = nearest.args.get(key);
      const text = `${key}=${value}`;
      return wanted !== undefined && bare(wanted) === bare(value) ? text : element("mark", { title: wanted === undefined ? "not expected" : `expected: ${wanted}` }, text);
    });
    for (const key of nearest.args.keys()) if (!one.args.has(key)) parts.push(element("mark", { class: "missing" }, `${key} is missing`));
    // The call itself is expected, but not as often or not again.
    if (!parts.some((part) => part instanceof Node)) return element("div", { class: "call" }, element("mark", { title: "not expected in this turn" }, written));
    return element("div", { class: "call" }, one.name, "(", parts.flatMap((part, i) => (i ? [", ", part] : [part])), ")");
  }

  /* The steps of one turn; what the expected turn does not hold is marked. Without it, nothing is. */
  function givenSteps(steps, expected) {
    if (!steps?.length) return [element("p", { class: "nothing" }, "Not reached.")];
    const known = new Set((expected ?? []).map(bare));
    const parts = [];
    let repeated = 0, last = null;
    const flush = () => { if (repeated) parts.push(element("p", { class: "nothing" }, `the same again, ${repeated} times`)); repeated = 0; };
    for (const step of steps) {
      if (step.text !== undefined) {
        flush();
        last = null;
        parts.push(step.text.trim() ? element("div", { class: "said-text" }, step.text) : element("p", { class: "nothing" }, "No text."));
        continue;
      }
      for (const one of step.calls) {
        const written = code(one);
        if (written === last) { repeated += 1; continue; }
        flush();
        last = written;
        parts.push(!expected || known.has(bare(written)) ? element("div", { class: "call" }, written) : strangeCall(written, expected));
      }
    }
    flush();
    const made = new Set(steps.flatMap((step) => step.calls ?? []).map((one) => bare(code(one))));
    const lacking = (expected ?? []).filter((one) => !made.has(bare(one))).length;
    if (lacking) parts.push(element("p", { class: "call" }, element("mark", { class: "missing" }, `${lacking} of ${expected.length} expected calls not made so`)));
    return parts;
  }

  return { answer, expectedCall, expectedCalls, expectedTurns, givenAnswer, givenSteps, turns };
})();
