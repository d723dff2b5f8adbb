/* Opens a report in headless Chromium, runs one scenario and prints what it saw as JSON.
   node drive.cjs FILE.html SCENARIO [JSON argument] */
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { chromium } = require("playwright-core");

const picks = (page) => page.locator(".picks").first();
const ranks = (page) => picks(page).locator("tr.pick .expander bdi").allTextContents();
const cells = (page, field) => picks(page).locator(`tr.pick [data-field="${field}"]`).allTextContents();

async function slide(page, name, index) {
  await page.locator(`.picks input[name="${name}"]`).first().evaluate((input, value) => {
    input.value = String(value);
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }, index);
}

const scenarios = {
  /* what a reader meets on opening */
  async open(page) {
    return page.evaluate(() => ({
      title: document.title,
      heading: document.querySelector("h1").textContent,
      rows: document.querySelectorAll(".picks tr.pick").length,
      charts: document.querySelectorAll("svg.chart").length,
      landmarks: ["main", "nav", "header", "footer"].map((name) => document.querySelectorAll(name).length),
      interactive_ms: performance.getEntriesByName("interactive")[0].startTime,
      overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      scripts_run: window.hacked === undefined,
    }));
  },

  async sort(page, field) {
    const header = picks(page).locator(`th[data-sort="${field}"]`);
    const seen = [];
    for (let press = 0; press < 2; press += 1) {
      await header.locator("button").click();
      seen.push({ order: await cells(page, field), direction: await header.getAttribute("aria-sort") });
    }
    return seen;
  },

  async filter(page, words) {
    const before = (await ranks(page)).length;
    await picks(page).locator('input[name="search"]').fill(words);
    const found = await ranks(page);
    await picks(page).locator('input[name="search"]').fill("no such model");
    const none = await picks(page).locator("tbody").textContent();
    await picks(page).locator('input[name="search"]').fill("");
    await picks(page).locator('input[name="front"]').check();
    const front = await ranks(page);
    await picks(page).locator('input[name="front"]').uncheck();
    const licence = await picks(page).locator("select option").nth(1).getAttribute("value");
    await picks(page).locator("select").selectOption(licence);
    return { before, found, none: none.trim(), front, licence, licensed: (await ranks(page)).length };
  },

  async expand(page) {
    const expander = picks(page).locator(".expander").nth(1);
    await expander.focus();
    await page.keyboard.press("Enter");
    const detail = picks(page).locator("tr.detail");
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]).catch(() => {});
    await detail.locator("[data-copy]").click();
    await page.waitForTimeout(100);
    const opened = {
      expanded: await expander.getAttribute("aria-expanded"),
      text: await detail.textContent(),
      bars: await detail.locator("svg").count(),
      copied: await page.evaluate(() => navigator.clipboard.readText()).catch(() => null),
      button: await detail.locator("[data-copy]").textContent(),
    };
    await page.keyboard.press("Escape");
    await expander.click();
    return { ...opened, closed: await detail.count() };
  },

  /* moves sliders; returns the table before, after, and after the reset */
  async what_if(page, moves) {
    const look = async () => ({ order: await ranks(page), speed: await cells(page, "speed"), first: await cells(page, "first"), memory: await cells(page, "memory"), rank: await cells(page, "rank") });
    const before = await look();
    for (const [name, index] of moves) await slide(page, name, index);
    const after = { ...(await look()), status: await picks(page).locator(".status").textContent() };
    await picks(page).locator('button[type="reset"]').click();
    await page.waitForTimeout(100);
    return { before, after, reset: await look() };
  },

  /* evaluates every pick of the first table under workloads, as the sliders do */
  async evaluate(page, workloads) {
    return page.evaluate((asked) => {
      const table = document.querySelector(".picks").table;
      return asked.map((workload) => table.rows.map((row) => {
        const now = WhatIf.evaluate(row.choice, workload, table.rules);
        return { decode: now.decode && now.decode.mid, first: now.firstToken && now.firstToken.mid, memory: now.memory, fits: now.fits, score: now.score, usable: now.usable, reason: now.reason };
      }));
    }, workloads);
  },

  async format(page, values) {
    return page.evaluate((asked) => ({
      number: asked.map((value) => Format.number(value)),
      duration: asked.map((value) => Format.duration(value)),
      gib: asked.map((value) => Format.gib(value)),
      params: asked.map((value) => Format.params(value)),
      tokens: asked.map((value) => Format.tokens(Math.round(Math.abs(value)))),
      interval: asked.map((value) => Format.interval({ low: value * 0.9, mid: value, high: value * 1.15 })),
      plain: ["a\u001b[31m", "\u202eexe", "two  spaces", "soft\u00adhyphen"].map((text) => Details.plain(text)),
    }), values);
  },

  async save(page) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.locator("[data-save]").first().click()]);
    return { name: download.suggestedFilename(), text: fs.readFileSync(await download.path(), "utf8") };
  },

  async theme(page) {
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const seen = [await ground()];
    for (let press = 0; press < 3; press += 1) {
      await page.locator("#theme").click();
      seen.push(await ground());
    }
    return seen;
  },

  async print(page) {
    await page.emulateMedia({ media: "print" });
    const hidden = await page.evaluate(() => [".bar", ".what-if", ".filters"].map((name) => {
      const found = document.querySelector(name);
      return !found || getComputedStyle(found).display === "none";
    }));
    const pdf = await page.pdf({ format: "A4" });
    return { hidden, bytes: pdf.length, head: pdf.subarray(0, 5).toString() };
  },

  async axe(page) {
    await page.evaluate(() => document.querySelectorAll("details").forEach((found) => { found.open = true; }));
    const expander = picks(page).locator(".expander").first();
    if (await expander.count()) await expander.click();
    await page.evaluate(fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8"));
    const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    return violations.map((found) => ({ id: found.id, impact: found.impact, nodes: found.nodes.slice(0, 4).map((node) => `${node.target} ${node.failureSummary || ""}`.slice(0, 300)) }));
  },

  async keyboard(page) {
    await page.keyboard.press("Tab");
    const first = await page.evaluate(() => document.activeElement.textContent);
    await page.keyboard.press("Enter");
    await page.locator('.picks input[name="context_tokens"]').first().focus();
    const before = await page.locator(".picks output").first().textContent();
    await page.keyboard.press("ArrowRight");
    const after = await page.locator(".picks output").first().textContent();
    const spoken = await page.locator('.picks input[name="context_tokens"]').first().getAttribute("aria-valuetext");
    return { first, before, after, spoken };
  },

  async screenshot(page, target) {
    await page.screenshot({ path: target, fullPage: true });
    return {};
  },
};

async function main() {
  const [file, name, argument, options] = process.argv.slice(2);
  const settings = { width: 1400, height: 900, scheme: "light", ...JSON.parse(options || "{}") };
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
  const seen = { console: [], errors: [], requests: [] };
  try {
    const context = await browser.newContext({
      viewport: { width: settings.width, height: settings.height }, colorScheme: settings.scheme, acceptDownloads: true,
      javaScriptEnabled: settings.scripts !== false,
    });
    const page = await context.newPage();
    page.on("console", (message) => seen.console.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => seen.errors.push(error.message));
    page.on("dialog", (dialog) => { seen.errors.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    const url = pathToFileURL(path.resolve(file)).href;
    page.on("request", (request) => { if (request.url() !== url && !request.url().startsWith("blob:")) seen.requests.push(request.url()); });
    await page.goto(url);
    if (settings.scripts !== false) await page.waitForSelector("html[data-ready]", { timeout: 20000 });
    const result = settings.scripts === false ? await page.content().then((text) => ({ rows: (text.match(/class="pick/g) || []).length })) : await scenarios[name](page, JSON.parse(argument || "null"));
    process.stdout.write(JSON.stringify({ result, ...seen }));
  } finally {
    await browser.close();
  }
}

main().catch((error) => { process.stderr.write(`${error.stack}\n`); process.exit(1); });
