import type { ClientBase } from "pg";
import type { RedisClientType } from "redis";

/** What the migrations and fixtures bring: how every test finds the data, whatever ran before it. */
export const BASELINE = {
  tables: 40,
  rows: 1200,
  schedule: { name: "schedule-1", workflow: "workflow-1", state: "active" },
  lastRun: 100,
  lastEvent: 198,
  lastSchedule: 8,
  statistics: { runs: 19, succeeded: 15, failed: 2 },
  keys: ["due", "leader", "news", "queue:default", "schedule:schedule-1", "workers:online", "zone"],
  waiting: ["run:100"],
  news: 2,
};

interface Contents {
  readonly count: number;
  readonly checksum: string | null;
}

const TABLES = `
  SELECT CASE relname WHEN 'log' THEN 'ONLY ' ELSE '' END || oid::regclass AS name FROM pg_class
   WHERE relnamespace IN ('public'::regnamespace, 'audit'::regnamespace) AND relkind IN ('r', 'p') AND NOT relispartition
   ORDER BY 1`;

const NUMBERS = `
  SELECT json_build_object('name', schedules.name, 'workflow', workflows.name, 'state', state) AS schedule,
         (SELECT last_value::integer FROM runs_id_seq) AS "lastRun",
         (SELECT last_value::integer FROM events_id_seq) AS "lastEvent",
         (SELECT last_value::integer FROM schedules_id_seq) AS "lastSchedule",
         (SELECT json_build_object('runs', runs, 'succeeded', succeeded, 'failed', failed)
            FROM run_statistics WHERE workflow_id = workflows.id) AS statistics
    FROM schedules JOIN workflows ON workflows.id = workflow_id WHERE schedules.name = 'schedule-1'`;

/** The same of what is there now. */
export async function found(database: ClientBase, store: RedisClientType): Promise<Partial<typeof BASELINE>> {
  const { run_statistics: _, ...tables } = await contentsOf(database);
  const { rows } = await database.query(NUMBERS);
  return {
    tables: Object.keys(tables).length,
    rows: Object.values(tables).reduce((rows, { count }) => rows + count, 0),
    ...rows[0],
    keys: (await store.keys("*")).sort(),
    waiting: await store.lRange("queue:default", 0, -1),
    news: await store.xLen("news"),
  };
}

/** Table, and the statistics → how many rows it has, and the checksum of all of them. */
export async function contentsOf(database: ClientBase): Promise<Record<string, Contents>> {
  const one = (name: string): string =>
    `SELECT '${name}', count(*)::integer, md5(string_agg(row::text, ';' ORDER BY row::text)) FROM ${name} row`;
  const query = [...(await namesOf(database)), "run_statistics"].map(one).join(" UNION ALL ");
  const { rows } = await database.query<[string, number, string | null]>({ text: query, rowMode: "array" });
  return Object.fromEntries(rows.map(([name, count, checksum]) => [name, { count, checksum }]));
}

async function namesOf(database: ClientBase): Promise<string[]> {
  const { rows } = await database.query<{ name: string }>(TABLES);
  return rows.map(({ name }) => name);
}
