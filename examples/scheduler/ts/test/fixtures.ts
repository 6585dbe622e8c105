import { workerDatabase, workerNumber } from "envctl/worker";
import { Client, type ClientBase } from "pg";
import { createClient, type RedisClientType } from "redis";
import { test as base, expect } from "vitest";
import { Scheduler } from "../src/scheduler.ts";
import { BASELINE, contentsOf, found } from "./baseline.ts";
import { Keys } from "./keys.ts";

interface Fixtures {
  /** A connection to this worker's database; one for all tests of a file. */
  $file: { connection: Client; redis: RedisClientType };
  $test: {
    /** The same, and the database is as the migrations and fixtures made it. */
    database: ClientBase;
    /** This worker's keys in Redis, as the fixtures made them. */
    keys: Keys;
    scheduler: Scheduler;
  };
}

const own = await workerDatabase(); // a copy of what was seeded, for this worker alone
let seen: Awaited<ReturnType<typeof contentsOf>> | undefined;

export const test = base.extend<Fixtures>({
  connection: [
    async ({}, use) => {
      const connection = new Client({ connectionString: own.url });
      await connection.connect();
      await use(connection);
      await connection.end();
    },
    { scope: "file" },
  ],
  redis: [
    async ({}, use) => {
      const client: RedisClientType = createClient({ url: variable("REDIS_URL") });
      await client.connect();
      await use(client);
      await new Keys(client, workerNumber()).clear();
      client.destroy();
    },
    { scope: "file" },
  ],
  keys: async ({ redis }, use) => {
    const keys = new Keys(redis, workerNumber());
    await keys.reset();
    await use(keys);
  },
  database: async ({ connection, keys }, use) => {
    await own.reset(); // milliseconds, and the connection stays
    expect(await found(connection, keys)).toEqual(BASELINE);
    const contents = await contentsOf(connection);
    expect(contents).toEqual((seen ??= contents)); // to the last row
    await use(connection);
  },
  scheduler: async ({ database, keys }, use) => {
    await use(new Scheduler(database, keys.store, keys.prefix));
  },
});

/** The only row that a query gives. */
export async function one(database: ClientBase, query: string): Promise<unknown> {
  const { rows } = await database.query(query);
  expect(rows).toHaveLength(1);
  return rows[0];
}

/** The value of a variable that envctl has set. */
export function variable(name: string): string {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set: envctl.yaml has no service that gives it`);
  }
  return value;
}
