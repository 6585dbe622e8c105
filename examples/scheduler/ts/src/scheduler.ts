import type { ClientBase } from "pg";
import type { RedisClientType } from "redis";

/** What others may be told of. */
export interface Told {
  readonly event: number;
  readonly kind: string;
  readonly run: number;
}

export type Announce = (message: Told) => Promise<void>;

/** There is no such schedule, or it rests. */
export class Refused extends Error {
  override readonly name = "Refused";
}

interface ScheduleRow {
  readonly id: number;
  readonly workflow_id: number;
  readonly state: "active" | "paused" | "retired";
  readonly input: Record<string, unknown>;
}

/** Schedules and the runs that come of them: what is true stands in Postgres, what waits in Redis. */
export class Scheduler {
  readonly #database: ClientBase;
  readonly #store: RedisClientType;
  readonly #announce: Announce;

  constructor(database: ClientBase, store: RedisClientType, announce: Announce = async () => {}) {
    this.#database = database;
    this.#store = store;
    this.#announce = announce;
  }

  /** Has the schedule's workflow run now; the number of the run. */
  async trigger(name: string): Promise<number> {
    const schedule = await this.#find(name);
    if (schedule.state !== "active") {
      throw new Refused(`schedule ${name} is ${schedule.state}`);
    }
    return this.#atomically(async () => {
      const { run, version, queue } = await this.#one<{ run: number; version: number; queue: string }>(
        `INSERT INTO runs (workflow_id, version_id, schedule_id, input)
         SELECT id, current_version_id, $2, $3 FROM workflows WHERE id = $1
         RETURNING id::integer AS run, version_id AS version, (SELECT queue FROM workflows WHERE id = $1)`,
        [schedule.workflow_id, schedule.id, schedule.input],
      );
      await this.#database.query(
        "INSERT INTO run_steps (run_id, step_id) SELECT $1, id FROM steps WHERE version_id = $2",
        [run, version],
      );
      await this.#store.rPush(`queue:${queue}`, `run:${run}`);
      await this.#publish(run, "run.queued");
      return run;
    });
  }

  /** The run that has waited longest, which runs now. */
  async take(queue: string): Promise<number | undefined> {
    const taken = await this.#store.lPop(`queue:${queue}`);
    if (taken === null) {
      return undefined;
    }
    const run = Number(String(taken).replace("run:", ""));
    await this.#database.query("UPDATE runs SET state = 'running', started_at = now() WHERE id = $1", [run]);
    return run;
  }

  /** A run has ended. */
  async end(run: number, state: "succeeded" | "failed" | "cancelled"): Promise<void> {
    await this.#atomically(async () => {
      const change = "UPDATE runs SET state = $2, finished_at = clock_timestamp() WHERE id = $1 AND state = 'running'";
      const { rowCount } = await this.#database.query(change, [run, state]);
      if (rowCount !== 1) {
        throw new Refused(`run ${run} does not run`);
      }
      await this.#publish(run, `run.${state}`);
    });
  }

  /** Lets a schedule rest until further notice. */
  async pause(name: string, reason: string): Promise<void> {
    const { id } = await this.#find(name);
    await this.#atomically(async () => {
      await this.#database.query("UPDATE schedules SET state = 'paused', next_at = NULL WHERE id = $1", [id]);
      await this.#database.query(
        "INSERT INTO schedule_pauses (schedule_id, during, reason) VALUES ($1, tstzrange(now(), NULL), $2)",
        [id, reason],
      );
      await this.#store.zRem("due", name);
    });
  }

  /** Deletes an organisation, with all that belongs to it. */
  async forget(organisation: string): Promise<void> {
    await this.#database.query("DELETE FROM organisations WHERE name = $1", [organisation]);
  }

  async #find(name: string): Promise<ScheduleRow> {
    const query = "SELECT id, workflow_id, state, input FROM schedules WHERE name = $1";
    const { rows } = await this.#database.query<ScheduleRow>(query, [name]);
    const [row] = rows;
    if (!row) {
      throw new Refused(`Scheduled workflow not found for schedule: ${name}`);
    }
    return row;
  }

  async #publish(run: number, kind: string): Promise<void> {
    const insert = "INSERT INTO events (run_id, kind) VALUES ($1, $2) RETURNING id::integer AS event";
    const { event } = await this.#one<{ event: number }>(insert, [run, kind]);
    await this.#store.xAdd("news", "*", { kind, run: String(run) });
    await this.#announce({ event, kind, run });
  }

  async #one<Row extends object>(query: string, values: readonly unknown[]): Promise<Row> {
    const { rows } = await this.#database.query<Row>(query, [...values]);
    const [row] = rows;
    if (!row) {
      throw new Error("no row");
    }
    return row;
  }

  async #atomically<Result>(action: () => Promise<Result>): Promise<Result> {
    await this.#database.query("BEGIN");
    try {
      const result = await action();
      await this.#database.query("COMMIT");
      return result;
    } catch (error) {
      await this.#database.query("ROLLBACK");
      throw error;
    }
  }
}
