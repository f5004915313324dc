/* Shared helpers, colour scheme, explanations on hover and focus, the choice of a run, downloads. */
"use strict";

const Page = (() => {
  const byId = (id) => document.getElementById(id);
  const parsed = (id) => JSON.parse(byId(id).textContent);
  const words = parsed("words");
  const charts = parsed("chart-data");
  const listeners = [];

  // Controls and direction marks change how the text around them reads, so they are spelled out.
  const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;
  const visible = (text) => String(text).replace(HIDDEN, (c) =>
    `\\u{${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}}`);

  /* The only way in which this page makes elements: text is set as text, never as markup. */
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === false || value === null || value === undefined) continue;
      if (key === "on") for (const [event, run] of Object.entries(value)) made.addEventListener(event, run);
      else made.setAttribute(key, value === true ? "" : value);
    }
    for (const child of children.flat()) {
      if (child === null || child === undefined || child === false) continue;
      made.append(child instanceof Node ? child : visible(child));
    }
    return made;
  }

  /* Unpack base64 of gzip into text. */
  async function unpacked(id) {
    const binary = atob(byId(id).textContent.trim());
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  function save(name, type, text) {
    const address = URL.createObjectURL(new Blob([text], { type }));
    const link = element("a", { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  // -- the address: what is shown can be sent as a link

  const state = () => new URLSearchParams(location.hash.slice(1));
  let run = words.runs[0];

  function chooseRun(name) {
    if (!words.runs.includes(name) || name === run) return;
    run = name;
    const picker = byId("run-picker");
    if (picker) picker.value = name;
    for (const block of document.querySelectorAll(".of-run")) {
      block.classList.toggle("shown", block.dataset.run === name);
      block.classList.toggle("away", block.dataset.run !== name);
    }
    for (const listener of listeners) listener(name);
  }

  function themeSwitch() {
    const button = byId("theme-switch");
    const names = ["auto", "light", "dark"];
    const current = () => document.documentElement.dataset.theme || "auto";
    const show = () => { button.textContent = `Theme: ${current()}`; };
    button.hidden = false;
    button.addEventListener("click", () => {
      const next = names[(names.indexOf(current()) + 1) % names.length];
      if (next === "auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = next;
      try { localStorage.setItem("toolgain-theme", next); } catch { /* not kept */ }
      show();
    });
    show();
  }

  function explanations() {
    const tip = byId("tip");
    let owner = null;
    const hide = () => { tip.hidden = true; owner = null; };
    const show = (term) => {
      owner = term;
      tip.textContent = byId(term.getAttribute("aria-describedby"))?.textContent ?? "";
      tip.hidden = false;
      const box = term.getBoundingClientRect();
      const size = tip.getBoundingClientRect();
      const left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - size.width - 8));
      const above = box.bottom + size.height + 12 > innerHeight && box.top > size.height + 12;
      tip.style.left = `${left + scrollX}px`;
      tip.style.top = `${(above ? box.top - size.height - 6 : box.bottom + 6) + scrollY}px`;
    };
    const termOf = (event) => event.target.closest?.('[aria-describedby^="term-"]');
    document.addEventListener("pointerover", (event) => {
      const term = termOf(event);
      if (term) show(term);
      else if (event.target !== tip && !owner?.matches(":focus")) hide();
    });
    document.addEventListener("focusin", (event) => { const term = termOf(event); if (term) show(term); else hide(); });
    document.addEventListener("focusout", hide);
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
    // A tap explains; the way to the glossary is the second tap or Enter.
    let tapped = null;
    document.addEventListener("click", (event) => {
      const term = termOf(event);
      if (!term || event.detail === 0) return;
      if (matchMedia("(hover: none)").matches && tapped !== term) { event.preventDefault(); tapped = term; show(term); }
    });
  }

  function sections() {
    const links = new Map([...document.querySelectorAll(".contents a")].map((a) => [a.hash.slice(1), a]));
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(entry.target.id)?.setAttribute("aria-current", "true");
      }
    }, { rootMargin: "-20% 0px -70% 0px" });
    for (const section of document.querySelectorAll("main > section")) seen.observe(section);
  }

  function downloads() {
    const box = byId("downloads");
    box.hidden = false;
    box.addEventListener("click", async (event) => {
      const what = event.target.closest("button")?.dataset.download;
      if (what === "comparison") save("comparison.json", "application/json", await unpacked("comparison-file"));
      if (what === "markdown") save("report.md", "text/markdown", await unpacked("markdown-file"));
      if (what === "items") save("items.csv", "text/csv", await Items.table());
    });
  }

  function start() {
    themeSwitch();
    explanations();
    sections();
    downloads();
    byId("run-picker")?.addEventListener("change", (event) => chooseRun(event.target.value));
    const follow = () => chooseRun(state().get("run"));
    addEventListener("hashchange", follow);
    follow();
  }

  return {
    byId, charts, chooseRun, element, start, state, unpacked, visible, words,
    run: () => run,
    onRun: (listener) => listeners.push(listener),
  };
})();
