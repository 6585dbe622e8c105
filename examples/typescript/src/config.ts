/** What the server is told by its environment. */
export interface Config {
  readonly port: number;
  readonly databaseUrl: string;
  readonly redisUrl: string;
}

/** Reads the configuration, and throws an error that names the variable that is missing or wrong. */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  const port = Number(required(env, "PORT"));
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new Error(`PORT is no port: ${env["PORT"]}`);
  }
  return { port, databaseUrl: required(env, "DATABASE_URL"), redisUrl: required(env, "REDIS_URL") };
}

function required(env: NodeJS.ProcessEnv, name: string): string {
  const value = env[name];
  if (!value) {
    throw new Error(`${name} is not set`);
  }
  return value;
}
