// Holds documents against the recommended rules of Redocly, by the library that its command line is made of:
// the command line itself brings a hundred more packages and asks for node 20.

import process from "node:process";
import { createConfig, lint } from "@redocly/openapi-core";

const config = await createConfig({ extends: ["recommended"] });
for (const ref of process.argv.slice(2)) {
  for (const { severity, ruleId, message, location } of await lint({ ref, config })) {
    console.error(`${ref}${location?.[0]?.pointer ?? ""}: ${severity} ${ruleId}: ${message}`);
    process.exitCode = 1;
  }
}
