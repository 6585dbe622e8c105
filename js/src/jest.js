import { enter } from "./global-setup.js";
import { leaving } from "./jest-teardown.js";

/** Makes a `globalSetup` of Jest's. It sets the variables in process.env before there are workers to inherit it. */
export function globalSetup(options = {}) {
  return async (globalConfig) => {
    const { leave } = await enter({ cwd: globalConfig.rootDir, ...options });
    leaving.push(leave);
  };
}

export default globalSetup();
