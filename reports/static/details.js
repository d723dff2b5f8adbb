/* What a row shows when it is opened: all text is set as text, never parsed as markup. */
const Details = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const CONTROL = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}]/u;
  const HARMLESS = new Set(["\u200c", "\u200d", "\ufeff", "\u00ad"]);

  /* As reports/text.py: control and direction-changing characters show as U+FFFD. */
  function plain(value) {
    return Array.from(String(value).replace(/\s+/gu, " ").trim(), (char) =>
      CONTROL.test(char) ? (HARMLESS.has(char) ? "" : "\ufffd") : char).join("");
  }

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function drawing(tag, attributes) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  function bdi(text) {
    return element("bdi", {}, plain(text));
  }

  function capitalised(text) {
    const words = plain(text);
    return words.slice(0, 1).toUpperCase() + words.slice(1);
  }

  function list(items, className = "bullets") {
    return element("ul", { class: className }, ...items.map((item) => element("li", {}, bdi(item))));
  }

  function memoryBar(device, words) {
    const span = Math.max(device.total_bytes, device.available_bytes || 0, 1);
    const bar = drawing("svg", { viewBox: "0 0 1000 18", preserveAspectRatio: "none", role: "img" });
    const keys = element("ul", { class: "keys" });
    let x = 0;
    for (const [field, role] of [["weights_bytes", "weights"], ["kv_bytes", "kv"], ["compute_bytes", "compute"], ["overhead_bytes", "overhead"]]) {
      if (!device[field]) continue;
      const width = (device[field] / span) * 1000;
      bar.append(drawing("rect", { class: `part-${role}`, x, y: 0, width, height: 18 }));
      x += width;
      const swatch = drawing("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" });
      swatch.append(drawing("rect", { class: `part-${role}`, width: 10, height: 10 }));
      keys.append(element("li", {}, swatch, `${words.memory[role]} ${Format.gib(device[field])}`));
    }
    if (device.available_bytes !== null && device.available_bytes < span) {
      const at = (device.available_bytes / span) * 1000;
      bar.append(drawing("line", { class: "limit-line", x1: at, x2: at, y1: 0, y2: 18 }));
    }
    const fits = device.available_bytes === null || device.total_bytes <= device.available_bytes;
    const total = Format.gib(device.total_bytes);
    const verdict = device.available_bytes === null ? `${total}, free memory unknown`
      : fits ? `${total} of ${Format.gib(device.available_bytes)} free`
        : `${total}, but only ${Format.gib(device.available_bytes)} free`;
    bar.setAttribute("aria-label", `${plain(device.device_id)}: ${verdict}`);
    return element("div", { class: "memory" },
      element("div", { class: "memory-head" },
        element("span", {}, "Memory on ", bdi(device.device_id)),
        element("span", { class: `verdict ${fits ? "good" : "bad"}` }, verdict)),
      bar, keys);
  }

  function termName(name, words) {
    const [phase, part, ...kind] = name.split(".");
    if (!(phase in words.phases) || !part) return plain(name).replace(/[_.]/g, " ");
    const known = words.parts[part] || capitalised(part.replace(/_/g, " "));
    return kind.length ? `${known}, ${plain(kind.join("."))}` : known;
  }

  function terms(estimate, phase, words) {
    const own = estimate.terms.filter((term) => term.name.startsWith(`${phase}.`));
    if (!own.length) return [];
    const longest = Math.max(...own.map((term) => term.time_s), Number.MIN_VALUE);
    const rows = own.map((term) => {
      const bar = drawing("svg", { viewBox: "0 0 1000 12", preserveAspectRatio: "none", "aria-hidden": "true" });
      bar.append(drawing("rect", { class: `bound-${plain(term.bound)}`, width: (Math.max(term.time_s, 0) / longest) * 1000, height: 12 }));
      const basis = words.bases[term.basis] || plain(term.basis);
      const bound = words.bounds[term.bound] || plain(term.bound);
      return element("li", { class: "term", title: `limited by ${bound}, ${basis}` },
        element("span", {}, element("bdi", {}, termName(term.name, words)), element("span", { class: "visually-hidden" }, `, limited by ${bound}, ${basis}`)),
        bar, element("span", { class: "time" }, Format.duration(term.time_s)));
    });
    return [element("h3", {}, words.phases[phase]), element("ul", { class: "terms" }, ...rows)];
  }

  function facts(choice) {
    const { estimate } = choice;
    const settings = estimate.deployment;
    const active = choice.params_active_count && choice.params_active_count !== choice.params_total_count
      ? `${Format.params(choice.params_total_count)}, ${Format.params(choice.params_active_count)} used per token`
      : Format.params(choice.params_total_count);
    const placed = Object.entries(settings.layers_by_device || {}).map(([device, layers]) => `${layers} layers on ${plain(device)}`);
    const rows = [
      ["Model", estimate.model_id], ["Parameters", active], ["Licence", choice.license_id], ["Released", choice.release_date],
      ["File", choice.file_bytes ? Format.gib(choice.file_bytes) : null], ["From", choice.local_path || choice.repo],
      ["Runs on", `${settings.engine_id}, ${settings.backend}`], ["Placement", placed.join(" + ")],
      ["KV cache", settings.kv_quant_id], ["Prompt speed", `${Format.interval(estimate.prefill_tokens_per_s)} tok/s`],
      ["Load time", Format.duration(estimate.load_s.mid)],
    ];
    const made = element("dl", { class: "facts" });
    for (const [name, value] of rows) {
      if (value) made.append(element("dt", {}, name), element("dd", {}, bdi(value)));
    }
    return made;
  }

  function command(text) {
    if (!text) return [];
    const shown = text.split(/\r\n|\n|\r/).map(plain).join("\n");
    const words = shown.split(" ").flatMap((word, index) => [index ? " " : "", element("span", { class: "word" }, word)]);
    return [element("div", { class: "command" },
      element("pre", {}, element("code", {}, ...words)),
      element("button", { type: "button", "data-copy": "" }, "Copy"))];
  }

  function build(choice, columnsCount, words) {
    const { estimate } = choice;
    const left = element("div", {});
    if (choice.reasons.length) left.append(element("h3", {}, "Why"), list(choice.reasons.map(capitalised)));
    for (const warning of estimate.warnings) {
      left.append(element("p", { class: "notice caution" }, words.warnings[warning] || plain(warning).replace(/_/g, " ")));
    }
    if (choice.alternatives.length) left.append(element("h3", {}, "Other settings of this model"), list(choice.alternatives.map(capitalised)));
    const right = element("div", {}, element("h3", {}, "Memory as asked"),
      ...estimate.memory.devices.map((device) => memoryBar(device, words)),
      ...terms(estimate, "decode", words), ...terms(estimate, "prefill", words));
    const wide = element("div", { class: "wide" }, element("h3", {}, "Facts"), facts(choice), ...command(choice.command));
    const grid = element("div", { class: "detail-grid" }, left, right, wide);
    return element("tr", { class: "detail", role: "row" },
      element("td", { role: "cell", colspan: String(columnsCount) }, grid));
  }

  return { build, element, plain };
})();
