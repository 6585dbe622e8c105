import { defineConfig } from "vitest/config";

// Brings up what envctl.yaml says, or takes what is up, and sets the variables before the tests start.
export default defineConfig({ test: { globalSetup: "envctl/vitest" } });
