import { up } from "./index.js";

/** Brings the environment up and sets its variables in process.env; what ends both. */
export async function enter(options) {
  const environment = await up(options);
  const before = { ...process.env };
  Object.assign(process.env, environment.variables);
  const leave = async () => {
    for (const name of Object.keys(environment.variables)) {
      if (before[name] === undefined) {
        delete process.env[name];
      } else {
        process.env[name] = before[name];
      }
    }
    await environment.close();
  };
  return { environment, leave };
}
