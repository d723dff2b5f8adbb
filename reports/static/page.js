/* Starts the page: reads the documents it holds, brings tables and buttons to life. */
(() => {
  const THEMES = [["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]];

  async function unpacked(node) {
    const content = JSON.parse(node.textContent);
    if (node.dataset.encoding !== "gzip+base64") return { text: node.textContent, content };
    const bytes = Uint8Array.from(atob(content), (char) => char.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const text = await new Response(stream).text();
    return { text, content: JSON.parse(text) };
  }

  function documentNode(index) {
    return document.getElementById(`document-${index}`);
  }

  function prepareTheme() {
    const button = document.getElementById("theme");
    let current = 0;
    button.hidden = false;
    button.addEventListener("click", () => {
      current = (current + 1) % THEMES.length;
      const [name, label] = THEMES[current];
      if (name === "auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = name;
      button.textContent = label;
      button.setAttribute("aria-label", `${label} colours`);
    });
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = Details.element("textarea", { "aria-hidden": "true", class: "visually-hidden" });
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  function prepareCopying() {
    for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
    document.addEventListener("click", async (event) => {
      const button = event.target.closest("[data-copy]");
      if (!button) return;
      await copy(button.parentElement.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  }

  function prepareSaving() {
    for (const button of document.querySelectorAll("[data-save]")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        const { text } = await unpacked(documentNode(button.dataset.save));
        const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
        Details.element("a", { href: url, download: button.dataset.name }).click();
        setTimeout(() => URL.revokeObjectURL(url), 1000);
      });
    }
  }

  async function start() {
    prepareTheme();
    prepareCopying();
    prepareSaving();
    const words = JSON.parse(document.getElementById("words").textContent);
    for (const root of document.querySelectorAll(".picks")) {
      const { content } = await unpacked(documentNode(root.dataset.document));
      root.table = new Picks.RankedTable(root, content, words);
    }
    performance.mark("interactive");
    document.documentElement.dataset.ready = "true";
  }

  start();
})();
