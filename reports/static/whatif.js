/* The same pick under another workload. Formulas and names follow advisor/whatif.py and
   advisor/recommendation/score.py;
   a browser test compares the results with Python's. */
const WhatIf = (() => {
  const BLOCK_TOKENS = 256;
  const column = (table, name) => table[name] || [];

  /* Cached tokens on a CPU's busiest thread: the cache is padded to blocks and cut among the threads. */
  function busiestDepth(depth, threads) {
    const cells = Math.ceil((depth + 1) / BLOCK_TOKENS) * BLOCK_TOKENS;
    if (!threads || cells < 2 * BLOCK_TOKENS) return depth;
    return threads * Math.min(depth, cells / threads);
  }

  function decodeSeconds(table, depth, users) {
    const coefficients = table[`decode_s.${users}`];
    if (!coefficients) return null;
    const [windowTokens, threads] = [table.window_tokens[0], table.threads_count[0]];
    const reach = Math.min(depth, windowTokens);
    const deep = table.near_tokens ? Math.max(0, depth - table.near_tokens[0]) : 0;
    const shares = [1, depth, busiestDepth(depth, threads), reach, busiestDepth(reach, threads), deep];
    return coefficients.reduce((sum, coefficient, index) => sum + coefficient * shares[index], 0);
  }

  function prefillSeconds(table, promptTokens) {
    const prompts = column(table, "prompt_tokens");
    if (!prompts.length || promptTokens < prompts[0] || promptTokens > prompts[prompts.length - 1]) return null;
    const above = prompts.findIndex((prompt) => prompt >= promptTokens);
    if (prompts[above] === promptTokens) return table.prefill_s[above];
    const share = (promptTokens - prompts[above - 1]) / (prompts[above] - prompts[above - 1]);
    const low = table.prefill_s[above - 1];
    return low + share * (table.prefill_s[above] - low);
  }

  function memoryBytes(table, deviceId, contextTokens, users) {
    const index = column(table, "context_tokens").indexOf(contextTokens);
    const bytes = table[`memory_bytes.${users}.${deviceId}`];
    return index < 0 || !bytes ? null : bytes[index];
  }

  const depthTokens = (workload) => workload.prompt_tokens + workload.output_tokens / 2;
  const scaled = (span, mid) => ({ low: span.low * (mid / span.mid), mid, high: span.high * (mid / span.mid) });

  /* Share of the way from the worst to the best value, on a logarithmic scale; the first doublings earn the most. */
  function logShare(value, worst, best, rules) {
    if (best === null || worst <= 0) return 1;
    const share = Math.min(1, Math.max(0, Math.log(value / worst) / Math.log(best / worst)));
    return 1 - Math.pow(1 - share, rules.saturation);
  }

  /* What is left of the quality at a speed or a wait: `kept` is 1 up to what is usable and falls beyond. */
  function usability(share, kept, rules) {
    const slowest = rules.slowest_usability;
    return (slowest + (1 - slowest) * share) * Math.sqrt(Math.min(1, kept));
  }

  function score(choice, decode, firstToken, rules) {
    const { quality, estimate } = choice;
    const wait = firstToken * (1 - rules.cached_prompt_frac);
    const [usable, patience] = [rules.usable_tokens_per_s, rules.patience_s];
    const speed = usability(logShare(decode, usable, rules.ample_tokens_per_s, rules), usable ? decode / usable : 1, rules);
    const promptness = usability(logShare(wait, patience, rules.prompt_wait_s, rules), patience / Math.max(wait, 1e-9), rules);
    const place = estimate.warnings.includes("spills_to_cpu") ? 1 - rules.worth_staying_whole_frac : 1;
    return {
      score: (quality.mid - rules.caution * (quality.mid - quality.low)) * speed * promptness * place,
      usable: decode >= usable && wait <= rules.bearable_s,
    };
  }

  function sameWorkload(first, second) {
    return ["prompt_tokens", "output_tokens", "context_tokens", "concurrency_count"].every((key) => first[key] === second[key]);
  }

  /* What counts for models that read and write nothing: documents per second. */
  const inverse = (span) => ({ low: 1 / span.high, mid: 1 / span.mid, high: 1 / span.low });
  const pace = (decode, firstToken, rules) => (rules.reads_only ? inverse(firstToken) : decode);

  /* A pick under a workload: figures as in its estimate, or `reason` where the table does not reach. */
  function evaluate(choice, workload, rules) {
    const estimate = choice.estimate;
    if (sameWorkload(estimate.workload, workload)) {
      const decode = estimate.decode_tokens_per_s.mid;
      return {
        decode: pace(estimate.decode_tokens_per_s, estimate.first_token_s, rules),
        firstToken: estimate.first_token_s,
        memory: estimate.memory.total_bytes,
        fits: estimate.memory.fits,
        score: choice.score,
        usable: score(choice, decode, estimate.first_token_s.mid, rules).usable,
        reason: null,
      };
    }
    const table = estimate.whatif || {};
    const decodeS = decodeSeconds(table, depthTokens(workload), workload.concurrency_count);
    const prefillS = prefillSeconds(table, workload.prompt_tokens);
    const devices = estimate.memory.devices.map((device) => ({
      needed: memoryBytes(table, device.device_id, workload.context_tokens, workload.concurrency_count),
      free: device.available_bytes,
    }));
    const reaches = decodeS !== null && prefillS !== null && devices.every((device) => device.needed !== null);
    if (!reaches) {
      const longest = Math.max(0, ...column(table, "context_tokens"));
      const beyond = longest > 0 && workload.context_tokens > longest;
      return {
        decode: null, firstToken: null, memory: null, fits: null, score: null, usable: false,
        reason: beyond ? `takes at most ${Format.tokens(longest)} of context` : "no figures for this workload",
      };
    }
    const decode = scaled(estimate.decode_tokens_per_s, 1 / decodeS);
    const firstToken = scaled(estimate.first_token_s, prefillS);
    const memory = devices.reduce((sum, device) => sum + device.needed, 0);
    const lacking = devices.filter((device) => device.free !== null && device.needed > device.free);
    return {
      decode: pace(decode, firstToken, rules), firstToken, memory, fits: lacking.length === 0,
      ...score(choice, decode.mid, firstToken.mid, rules),
      reason: lacking.length ? `needs ${Format.gib(memory)} with this context` : null,
    };
  }

  return { evaluate, score, decodeSeconds, prefillSeconds, memoryBytes, sameWorkload };
})();
