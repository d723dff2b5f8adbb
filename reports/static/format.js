"use strict";
/* Numbers as reports/format.py writes them; a browser test holds the two together. */
const Format = (() => {
  const UNKNOWN = "—";
  const GIB = 1024 ** 3;

  function decimalsOf(value) {
    const size = Math.abs(value);
    if (size >= 99.95 || size === 0) return 0;
    if (size >= 0.995) return 1;
    return Math.min(12, 1 - Math.floor(Math.log10(size)));
  }

  /* As Python: a value exactly between two decimals goes to the even one, where toFixed goes up.
     Such a value is an odd multiple of 1 / 2^(decimals + 1), which doubles hold exactly. */
  function toFixed(value, decimals) {
    if (Math.abs(value * 2 ** (decimals + 1)) % 2 === 1) {
      const low = Math.floor(value * 10 ** decimals);
      return ((low % 2 === 0 ? low : low + 1) / 10 ** decimals).toFixed(decimals);
    }
    return value.toFixed(decimals);
  }

  function fixed(value, decimals) {
    if (decimals === 0 && Math.abs(value) >= 1000) {
      const step = 10 ** (Math.floor(Math.log10(Math.abs(value))) - 2);
      value = Math.floor(value / step + 0.5) * step;
    }
    const text = toFixed(Math.abs(value), decimals);
    const [whole, fraction] = text.split(".");
    const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",") + (fraction ? `.${fraction}` : "");
    return value < 0 && /[1-9]/.test(text) ? `−${grouped}` : grouped;
  }

  function number(value) {
    if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
    return fixed(value, Number.isInteger(value) ? 0 : decimalsOf(value));
  }

  function interval(span, factor = 1) {
    if (!span || ![span.low, span.mid, span.high].every(Number.isFinite)) return UNKNOWN;
    const decimals = decimalsOf(span.mid * factor);
    const [low, mid, high] = [span.low, span.mid, span.high].map((edge) => fixed(edge * factor, decimals));
    return low === mid && mid === high ? mid : `${mid} (${low}–${high})`;
  }

  function scaledTime(seconds) {
    const size = Math.abs(seconds);
    if (size >= 7200) return [3600, "h"];
    if (size >= 120) return [60, "min"];
    if (size >= 0.0995 || size === 0) return [1, "s"];
    return size >= 9.95e-5 ? [1e-3, "ms"] : [1e-6, "µs"];
  }

  function duration(seconds) {
    if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return UNKNOWN;
    const [scale, unit] = scaledTime(seconds);
    return `${number(seconds / scale)} ${unit}`;
  }

  function gib(bytes) {
    if (bytes === null || bytes === undefined) return UNKNOWN;
    return bytes === 0 || bytes >= 0.005 * GIB ? `${number(bytes / GIB)} GiB` : "<0.01 GiB";
  }

  const count = (value) => String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  const points = (value) => toFixed(value, 0);

  function tokens(value) {
    if (value === null || value === undefined) return UNKNOWN;
    return value >= 1024 && value % 1024 === 0 ? `${count(value / 1024)}k` : count(value);
  }

  function params(value) {
    if (!value) return UNKNOWN;
    for (const [unit, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"]]) {
      if (value >= unit * 0.9995) return number(value / unit) + letter;
    }
    return number(value);
  }

  function quality(score) {
    const span = `${points(score.mid)} (${points(score.low)}–${points(score.high)})`;
    return span + (score.imputed ? "*" : "");
  }

  return { UNKNOWN, number, interval, duration, gib, tokens, params, quality, count };
})();
