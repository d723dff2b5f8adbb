/* The ranked table: sorts, filters, opens, and ranks itself anew when a slider moves. */
const Picks = (() => {
  const PAGE_ROWS = 25;
  const MIN_SPEEDS = [0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 75, 100, 150, 200];
  const OUTPUTS = [1, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768];
  const SORT_KEYS = {
    rank: (row) => row.place,
    name: (row) => row.name.toLowerCase(),
    quant: (row) => row.quant.toLowerCase(),
    quality: (row) => row.choice.quality.mid,
    speed: (row) => (row.now.decode ? row.now.decode.mid : null),
    first: (row) => (row.now.firstToken ? row.now.firstToken.mid : null),
    memory: (row) => row.now.memory,
    basis: (row) => row.basis,
    score: (row) => row.now.score,
  };
  const DESCENDING_FIRST = new Set(["quality", "speed", "score"]);

  const union = (rows, name, own) => [...new Set([...rows.flatMap((row) => (row.choice.estimate.whatif || {})[name] || []), own])]
    .sort((a, b) => a - b);

  function compare(first, second) {
    if (first === second) return 0;
    if (first === null) return 1;
    if (second === null) return -1;
    return first < second ? -1 : 1;
  }

  class RankedTable {
    constructor(root, recommendation, words) {
      this.root = root;
      this.recommendation = recommendation;
      this.words = words;
      this.rules = words.rules[root.dataset.document];
      this.body = root.querySelector("tbody");
      this.template = root.querySelector("template").content.querySelector("tr");
      this.form = root.querySelector(".what-if");
      this.status = root.querySelector(".status");
      this.moreButton = root.querySelector("[data-more]");
      this.sort = { field: "rank", descending: false };
      this.shown = PAGE_ROWS;
      this.rows = recommendation.ranked.map((choice, index) => ({
        choice, index,
        name: Details.plain(choice.display_name || choice.estimate.model_id),
        quant: Details.plain(choice.estimate.quant_id),
        basis: words.bases[choice.estimate.basis] || Details.plain(choice.estimate.basis),
        find: Details.plain([choice.display_name, choice.estimate.model_id, choice.estimate.quant_id, choice.license_id].join(" ")).toLowerCase(),
        element: null, detail: null, now: null, place: index + 1, out: null,
      }));
      this.asked = { ...recommendation.workload };
      root.classList.remove("no-script");
      this.prepareSorting();
      this.prepareFilters();
      this.prepareSliders();
      this.evaluate();
      this.draw();
    }

    /* --- controls --- */

    prepareSorting() {
      for (const header of this.root.querySelectorAll("thead th[data-sort]")) {
        const button = Details.element("button", { type: "button" }, header.textContent);
        header.replaceChildren(button);
        button.addEventListener("click", () => this.sortBy(header.dataset.sort));
      }
      this.body.addEventListener("click", (event) => {
        const expander = event.target.closest(".expander");
        if (expander) this.toggle(this.rows[Number(expander.dataset.index)]);
      });
    }

    sortBy(field) {
      const again = this.sort.field === field;
      this.sort = { field, descending: again ? !this.sort.descending : DESCENDING_FIRST.has(field) };
      this.draw();
    }

    prepareFilters() {
      const filters = this.root.querySelector(".filters");
      filters.hidden = false;
      const select = filters.querySelector("select");
      const licenses = [...new Set(this.rows.map((row) => row.choice.license_id).filter(Boolean))].sort();
      for (const license of licenses) select.append(Details.element("option", { value: license }, Details.plain(license)));
      this.filters = {
        search: filters.querySelector("[name=search]"), license: select, front: filters.querySelector("[name=front]"),
      };
      filters.addEventListener("input", () => { this.shown = PAGE_ROWS; this.draw(); });
      this.moreButton.addEventListener("click", () => { this.shown += 200; this.draw(); });
    }

    prepareSliders() {
      if (!this.rows.some((row) => Object.keys(row.choice.estimate.whatif || {}).length)) return;
      const asked = this.asked;
      const limit = this.recommendation.limits.min_tokens_per_s || 0;
      this.stops = {
        context_tokens: union(this.rows, "context_tokens", asked.context_tokens),
        prompt_tokens: union(this.rows, "prompt_tokens", asked.prompt_tokens),
        output_tokens: [...new Set([...OUTPUTS, asked.output_tokens])].sort((a, b) => a - b),
        concurrency_count: union(this.rows, "users_count", asked.concurrency_count),
        min_speed: [...new Set([...MIN_SPEEDS, limit])].sort((a, b) => a - b),
      };
      this.initial = { ...asked, min_speed: limit };
      for (const [name, stops] of Object.entries(this.stops)) {
        const input = this.form.elements[name];
        input.max = String(stops.length - 1);
        input.value = String(stops.indexOf(this.initial[name]));
        input.defaultValue = input.value;
      }
      this.form.hidden = false;
      this.form.addEventListener("input", () => this.rerank());
      this.form.addEventListener("reset", () => requestAnimationFrame(() => this.rerank()));
      this.form.addEventListener("submit", (event) => event.preventDefault());
      this.label();
    }

    chosen(name) {
      return this.stops[name][Number(this.form.elements[name].value)];
    }

    /* The workload the sliders say; a context too short for prompt and answer is raised to the next step. */
    workload() {
      if (!this.stops) return this.asked;
      const wanted = {};
      for (const name of ["context_tokens", "prompt_tokens", "output_tokens", "concurrency_count"]) wanted[name] = this.chosen(name);
      const needed = wanted.prompt_tokens + wanted.output_tokens;
      if (needed > wanted.context_tokens) {
        const next = this.stops.context_tokens.find((context) => context >= needed);
        wanted.context_tokens = next === undefined ? needed : next;
      }
      return wanted;
    }

    label() {
      const workload = this.workload();
      const raised = workload.context_tokens !== this.chosen("context_tokens");
      const texts = {
        context_tokens: Format.tokens(workload.context_tokens) + (raised ? " (raised)" : ""),
        prompt_tokens: Format.tokens(workload.prompt_tokens),
        output_tokens: Format.tokens(workload.output_tokens),
        concurrency_count: String(workload.concurrency_count),
        min_speed: this.chosen("min_speed") ? `${Format.number(this.chosen("min_speed"))} ${this.rules.speed_unit}` : "any",
      };
      for (const [name, text] of Object.entries(texts)) {
        const input = this.form.elements[name];
        input.setAttribute("aria-valuetext", text);
        input.closest(".slider").querySelector("output").value = text;
      }
    }

    rerank() {
      this.label();
      this.evaluate();
      this.draw();
      const inside = this.rows.filter((row) => !row.out);
      const best = inside.reduce((top, row) => (!top || row.place < top.place ? row : top), null);
      this.status.textContent = best
        ? `${Format.count(inside.length)} of ${Format.count(this.rows.length)} picks work; first is ${best.name} ${best.quant}, ${Format.number(best.now.decode.mid)} ${this.rules.speed_unit}.`
        : "None of the picks works this way.";
    }

    /* --- ranking --- */

    evaluate() {
      const workload = this.workload();
      const unchanged = WhatIf.sameWorkload(workload, this.asked);
      const minSpeed = this.stops ? this.chosen("min_speed") : 0;
      for (const row of this.rows) {
        row.now = WhatIf.evaluate(row.choice, workload, this.rules);
        row.out = row.now.reason;
        if (!row.out && row.now.decode.mid < minSpeed) row.out = `slower than ${Format.number(minSpeed)} ${this.rules.speed_unit}`;
      }
      const order = [...this.rows].sort((a, b) =>
        Number(Boolean(a.out)) - Number(Boolean(b.out))
        || (unchanged ? a.index - b.index
          : Number(b.now.usable) - Number(a.now.usable) || compare(b.now.score, a.now.score) || a.index - b.index));
      order.forEach((row, index) => { row.place = index + 1; });
      this.unchanged = unchanged;
    }

    visible() {
      const search = this.filters.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
      const license = this.filters.license.value;
      const front = this.filters.front.checked;
      const kept = this.rows.filter((row) => search.every((word) => row.find.includes(word))
        && (!license || row.choice.license_id === license) && (!front || row.choice.pareto));
      const key = SORT_KEYS[this.sort.field];
      const sign = this.sort.descending ? -1 : 1;
      return kept.sort((a, b) => {
        const [first, second] = [key(a), key(b)];
        if (first === null || second === null) return compare(first, second) || a.place - b.place;
        return sign * compare(first, second) || a.place - b.place;
      });
    }

    /* --- drawing --- */

    draw() {
      const visible = this.visible();
      const nodes = [];
      for (const row of visible.slice(0, this.shown)) {
        nodes.push(this.fill(row));
        if (row.detail) nodes.push(row.detail);
      }
      const focused = document.activeElement && this.body.contains(document.activeElement) ? document.activeElement : null;
      this.body.replaceChildren(...nodes);
      if (focused && focused.isConnected) focused.focus();
      if (!nodes.length) this.body.append(this.emptyRow());
      const rest = visible.length - this.shown;
      this.moreButton.hidden = rest <= 0;
      this.moreButton.textContent = `Show more (${Format.count(Math.max(0, rest))} hidden)`;
      for (const header of this.root.querySelectorAll("thead th[data-sort]")) {
        if (header.dataset.sort !== this.sort.field) header.removeAttribute("aria-sort");
        else header.setAttribute("aria-sort", this.sort.descending ? "descending" : "ascending");
      }
    }

    emptyRow() {
      const columns = String(this.template.children.length);
      return Details.element("tr", { role: "row" }, Details.element("td", { role: "cell", colspan: columns }, "No pick matches."));
    }

    create(row) {
      const made = this.template.cloneNode(true);
      const expander = made.querySelector(".expander");
      expander.dataset.index = String(row.index);
      expander.querySelector("bdi").textContent = row.name;
      const cell = made.querySelector("[data-field=name]");
      if (row.choice.pareto) cell.append(Details.element("span", { class: "tag", title: "no other pick is better in quality, speed and memory at once" }, "best trade-off"));
      if (row.choice.local_path) cell.append(Details.element("span", { class: "tag local" }, "on this disk"));
      cell.append(Details.element("span", { class: "why-out" }));
      row.cells = Object.fromEntries([...made.children].map((child) => [child.dataset.field, child]));
      return made;
    }

    fill(row) {
      if (!row.element) row.element = this.create(row);
      const { now, cells, choice } = row;
      const estimate = choice.estimate;
      const mark = this.unchanged && choice.about_equal_to_rank ? "≈" : "";
      this.set(cells.rank, row.out ? Format.UNKNOWN : `${mark}${this.unchanged ? choice.rank : row.place}`);
      this.set(cells.quant, row.quant);
      this.set(cells.quality, Format.quality(choice.quality));
      this.set(cells.speed, Format.interval(now.decode));
      this.set(cells.first, Format.duration(now.firstToken && now.firstToken.mid));
      this.set(cells.memory, Format.gib(now.memory));
      this.set(cells.basis, row.basis);
      this.set(cells.score, Format.number(now.score));
      cells.name.querySelector(".why-out").textContent = row.out || "";
      row.element.classList.toggle("out", Boolean(row.out));
      row.element.classList.toggle("first", row.place === 1 && !row.out);
      row.element.title = estimate.model_id === row.name ? "" : Details.plain(estimate.model_id);
      return row.element;
    }

    /* "11.7 (10.9–12.7)" with the range set apart */
    set(cell, text) {
      if (cell.dataset.text === text) return;
      cell.dataset.text = text;
      const parts = /^(.+?) (\(.+\)\*?)$/.exec(text);
      cell.replaceChildren(...(parts ? [`${parts[1]} `, Details.element("span", { class: "range" }, parts[2])] : [text]));
    }

    toggle(row) {
      const expander = row.element.querySelector(".expander");
      if (row.detail) {
        row.detail.remove();
        row.detail = null;
        expander.removeAttribute("aria-controls");
      } else {
        row.detail = Details.build(row.choice, row.element.children.length, this.words);
        row.detail.id = `detail-${this.root.dataset.document}-${row.index}`;
        row.element.after(row.detail);
        expander.setAttribute("aria-controls", row.detail.id);
      }
      expander.setAttribute("aria-expanded", String(Boolean(row.detail)));
    }
  }

  return { RankedTable };
})();
