// Lints documents by the recommended rules of Redocly, with the library below its command line:
// the command line itself has a hundred more packages and needs Node 20.

import process from "node:process";
import { createConfig, lint } from "@redocly/openapi-core";

const config = await createConfig({ extends: ["recommended"] });
for (const ref of process.argv.slice(2)) {
  for (const { severity, ruleId, message, location } of await lint({ ref, config })) {
    console.error(`${ref}${location?.[0]?.pointer ?? ""}: ${severity} ${ruleId}: ${message}`);
    process.exitCode = 1;
  }
}
