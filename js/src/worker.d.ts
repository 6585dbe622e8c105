import type { Database, Options } from "./index.js";

/** Which database, and how envctl is called. All of it is optional. */
export type WorkerOptions = Pick<Options, "command" | "cwd"> & {
  /** Which Postgres; by default the first. */
  service?: string | undefined;
};

/** The number that a test runner has given this worker: VITEST_POOL_ID, JEST_WORKER_ID, TEST_PARALLEL_INDEX, or "1". */
export function workerNumber(): string;

/** This worker's own database, as new; the same one each time it is asked for in a process or thread. */
export function workerDatabase(options?: WorkerOptions): Promise<Database>;

/** The same, and sets its variables in process.env. */
export function useWorkerDatabase(options?: WorkerOptions): Promise<Database>;
