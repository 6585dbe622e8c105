import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import { defineConfig } from "vitest/config";

// Written by `npm test` just before, see `pretest` in package.json. Unlike `node --env-file` this goes over what the
// shell has: a DATABASE_URL of yesterday must not send the tests to another database.
const variables = parseEnv(readFileSync(new URL(".env.test", import.meta.url), "utf8"));

export default defineConfig({ test: { env: variables as Record<string, string> } });
