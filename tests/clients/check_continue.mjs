// Read an exported config.yaml with Continue's own parser and validator; print what it found.
import fs from "node:fs";
import { parseConfigYaml, validateConfigYaml } from "@continuedev/config-yaml";

const config = parseConfigYaml(fs.readFileSync(process.argv[2], "utf8"));
console.log(JSON.stringify({ config, errors: validateConfigYaml(config) ?? [] }));
