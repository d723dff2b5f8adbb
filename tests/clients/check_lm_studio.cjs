// Read an exported preset's fields with LM Studio's own configuration schema; print the values it accepts.
const fs = require("node:fs");
const { globalConfigSchematics } = require("@lmstudio/lms-kv-config");

const preset = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const fields = [...preset.operation.fields, ...preset.load.fields];
const parsed = globalConfigSchematics.parse({ fields });
console.log(JSON.stringify(Object.fromEntries(fields.map(({ key }) => [key, parsed.get(key)]))));
