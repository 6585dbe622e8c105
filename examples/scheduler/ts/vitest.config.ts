import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    globalSetup: "envctl/vitest", // brings up what ../envctl.yaml says, or takes what is up, and sets the variables
    sequence: { shuffle: true }, // another order in each run: no test may need another one's data
  },
});
