import type { Database, Options, RedisDatabase } from "./index.js";

/** Which service, and how envctl is called. All of it is optional. */
export type WorkerOptions = Pick<Options, "command" | "cwd"> & {
  /** Its name; by default the first of its kind. */
  service?: string | undefined;
};

/** The number that a test runner has given this worker: VITEST_POOL_ID, JEST_WORKER_ID, TEST_PARALLEL_INDEX, or "1". */
export function workerNumber(): string;

/** This worker's own database, as new; the same one each time it is asked for in a process or thread. */
export function workerDatabase(options?: WorkerOptions): Promise<Database>;

/** This worker's own logical database of Redis, with what was seeded, or empty; the same one each time, as above. */
export function workerRedis(options?: WorkerOptions): Promise<RedisDatabase>;

/** As `workerDatabase`, and sets its variables in process.env. */
export function useWorkerDatabase(options?: WorkerOptions): Promise<Database>;

/** As `workerRedis`, and sets its variables in process.env. */
export function useWorkerRedis(options?: WorkerOptions): Promise<RedisDatabase>;

/** Both of these, as far as process.env has a DATABASE_URL and a REDIS_URL: what `envctl/vitest-worker` does. */
export function useWorkerData(): Promise<void>;
