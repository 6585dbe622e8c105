/// <reference lib="esnext.disposable" />

/** Which environment, and how to get it. All of it is optional. */
export interface Options {
  /** Configuration file, instead of the nearest envctl.yaml. */
  file?: string | undefined;
  /** Another branch's environment. */
  branch?: string | undefined;
  /** A second environment beside the branch's. */
  name?: string | undefined;
  /** Where services run; `auto` by default. */
  engine?: "auto" | "compose" | "embedded" | "swarm" | undefined;
  /** Whether everything is made anew, data included. */
  fresh?: boolean | undefined;
  /** Whether the environment stays when it is no longer used. */
  keep?: boolean | undefined;
  /** Limit for becoming ready: milliseconds, or a duration such as "90s" or "5m". */
  timeout?: number | string | undefined;
  /** What runs envctl; a string is split at blanks. By default the variable ENVCTL_COMMAND, else `envctl`. */
  command?: string | readonly string[] | undefined;
  /** Folder inside the repository to look for the configuration from; by default the current one. */
  cwd?: string | undefined;
}

/** How to reach one service. What its kind does not have is left out. */
export interface Connection {
  readonly service: string;
  readonly kind: string;
  readonly host: string;
  readonly port?: number;
  readonly url?: string;
  readonly user?: string;
  readonly password?: string;
  readonly database?: string;
  /** Path of a WebSocket or HTTP endpoint. */
  readonly path?: string;
  /** Each port by its name, where there are several. */
  readonly ports?: Readonly<Record<string, number>>;
}

/** A service that has a port. */
export type Reachable = Connection & { readonly port: number; readonly url: string };

/** What a reset of one service did. */
export interface ResetReport {
  readonly service: string;
  /** `tables`, `template`, `copy`, `flush` (Redis) or `sessions` (of a WebSocket server). */
  readonly strategy: string;
  /** How many tables, keys or sessions. */
  readonly changed: number;
  readonly duration_ms: number;
  readonly note: string;
}

/** Which database is made. All of it is optional. */
export interface DatabaseOptions {
  /** Its name; by default one that nobody else has. */
  name?: string | undefined;
  /** Which service; by default the first of its kind. */
  service?: string | undefined;
  /** Whether one of that name that was made so goes first. */
  replace?: boolean | undefined;
}

/** Data of one's own in a service that others use as well. */
export interface OwnData extends Connection {
  readonly port: number;
  readonly url: string;
  readonly password: string;
  readonly database: string;
  /** Those variables of the environment that are others with this database: `DATABASE_URL`, `REDIS_URL`, … */
  readonly variables: Readonly<Record<string, string>>;
  /** Puts it back to what it held when it was new, whoever is connected. Takes milliseconds. */
  reset(): Promise<void>;
  /** Removes it, and ends its connections. */
  drop(): Promise<void>;
  /** `await using database = await environment.database()` */
  [Symbol.asyncDispose](): Promise<void>;
}

/** A database of one's own. */
export interface Database extends OwnData {
  readonly kind: "postgres";
  readonly user: string;
}

/** A logical database of Redis of one's own; `database` is its number. */
export interface RedisDatabase extends OwnData {
  readonly kind: "redis";
}

/** An environment that is ready. */
export interface Environment {
  readonly name: string;
  readonly project: string;
  readonly branch: string;
  readonly engine: string;
  readonly services: Readonly<Record<string, Connection>>;
  /** The first service of this kind. Throws an EnvctlError where there is none. */
  readonly postgres: Reachable;
  /** The first service of this kind. Throws an EnvctlError where there is none. */
  readonly redis: Reachable;
  /** The first service of this kind. Throws an EnvctlError where there is none. */
  readonly websocket: Reachable;
  /** What `envctl env` prints, and ENVCTL_SESSION. Only the runners' set-ups set them in process.env. */
  readonly variables: Readonly<Record<string, string>>;
  /** Phases of the `up`, milliseconds. */
  readonly timings: Readonly<Record<string, number>>;
  /**
   * Puts the data of services (of all, without names) back to what they were seeded with; connections stay open. The
   * first call starts a program that stays until `close()`, so that later ones take milliseconds.
   */
  reset(...services: string[]): Promise<ResetReport[]>;
  /** Makes a database: a copy of the seeded baseline, else of what the environment's own holds. Goes with `close()`. */
  database(options?: DatabaseOptions): Promise<Database>;
  /** Has a logical database of Redis for one's own: it holds what was seeded, or nothing. Goes with `close()`. */
  redisDatabase(options?: DatabaseOptions): Promise<RedisDatabase>;
  /**
   * Ends this use of the environment, and removes it if it was brought up for such a use and nobody else has one.
   * What was up before stays. Calling it again does nothing.
   */
  close(): Promise<void>;
  /** `await using environment = await up()` */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Brings the environment up and waits until every service is ready, or takes the one that is up. Its use ends with
 * `close()`, or with this process, however that ends.
 *
 * @throws EnvctlError
 */
export function up(options?: Options): Promise<Environment>;

/** Something went wrong; the message is what the command line prints. */
export class EnvctlError extends Error {
  /** One that never changes its meaning, such as SERVICE_EXITED: `envctl explain CODE`. */
  readonly code: string;
  /** The exit code that the command line has for it. */
  readonly exitCode: number;
}
