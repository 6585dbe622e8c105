import { enter } from "./global-setup.js";

/** Makes a `globalSetup` of vitest's. It sets the variables in process.env before there are workers to inherit it. */
export function globalSetup(options = {}) {
  return async (project) => {
    const { environment, leave } = await enter({ cwd: project.config?.root, ...options });
    project.provide("envctl", { services: environment.services, variables: environment.variables });
    return leave;
  };
}

export default globalSetup();
