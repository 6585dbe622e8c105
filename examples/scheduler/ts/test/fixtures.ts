import { workerDatabase, workerRedis } from "envctl/worker";
import { Client, type ClientBase } from "pg";
import { createClient, type RedisClientType } from "redis";
import { test as base, expect } from "vitest";
import { Scheduler } from "../src/scheduler.ts";
import { BASELINE, contentsOf, found } from "./baseline.ts";

interface Fixtures {
  /** Connections to this worker's databases; one for all tests of a file. */
  $file: { connection: Client; redis: RedisClientType };
  $test: {
    /** The same, and the database is as the migrations and fixtures made it. */
    database: ClientBase;
    /** The same of Redis. */
    store: RedisClientType;
    scheduler: Scheduler;
  };
}

const [own, ownRedis] = await Promise.all([workerDatabase(), workerRedis()]); // what was seeded, for this worker alone
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
      const client: RedisClientType = createClient({ url: ownRedis.url });
      await client.connect();
      await use(client);
      client.destroy();
    },
    { scope: "file" },
  ],
  store: async ({ redis }, use) => {
    await ownRedis.reset();
    await use(redis);
  },
  database: async ({ connection, store }, use) => {
    await own.reset(); // milliseconds, and the connection stays
    expect(await found(connection, store)).toEqual(BASELINE);
    const contents = await contentsOf(connection);
    expect(contents).toEqual((seen ??= contents)); // to the last row
    await use(connection);
  },
  scheduler: async ({ database, store }, use) => {
    await use(new Scheduler(database, store));
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
