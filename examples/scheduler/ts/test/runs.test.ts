import { workerNumber } from "envctl/worker";
import { expect, onTestFinished } from "vitest";
import { Channel } from "../src/channel.ts";
import { Scheduler } from "../src/scheduler.ts";
import { one, test, variable } from "./fixtures.ts";

test("a run from queue to end", async ({ scheduler, database }) => {
  expect([await scheduler.trigger("schedule-1"), await scheduler.take("default"), await scheduler.take("default")]).toEqual([
    101, 100, 101,
  ]);
  await scheduler.end(101, "succeeded");

  expect(await one(database, "SELECT state, duration > '0' AS measured FROM runs WHERE id = 101")).toEqual({
    state: "succeeded",
    measured: true,
  });
});

test("a run ends once", async ({ scheduler, database }) => {
  await scheduler.end(99, "failed");

  await expect(scheduler.end(99, "succeeded")).rejects.toThrow("run 99 does not run");
  expect(await one(database, "SELECT id::integer, kind FROM events ORDER BY id DESC LIMIT 1")).toEqual({
    id: 199,
    kind: "run.failed",
  });
});

test("an organisation takes with it all that it has", async ({ scheduler, database }) => {
  await scheduler.forget("acme");

  expect(
    await one(
      database,
      `SELECT (SELECT count(*) FROM users)::integer AS users, (SELECT count(*) FROM workflows)::integer AS workflows,
              (SELECT count(*) FROM runs WHERE workflow_id = 1)::integer AS runs`,
    ),
  ).toEqual({ users: 8, workflows: 5, runs: 0 });
});

test("the statistics are as of the last refresh", async ({ scheduler, database }) => {
  const query = "SELECT runs::integer, failed::integer FROM run_statistics WHERE workflow_id = 1";
  await scheduler.trigger("schedule-1");
  expect(await one(database, query)).toEqual({ runs: 19, failed: 2 });

  await database.query("REFRESH MATERIALIZED VIEW run_statistics");
  expect(await one(database, query)).toEqual({ runs: 20, failed: 2 });
});

test("truncated runs are numbered anew if asked", async ({ scheduler, database }) => {
  await database.query("TRUNCATE runs RESTART IDENTITY CASCADE");

  expect(await scheduler.trigger("schedule-1")).toBe(1);
});

test("what waits in Redis may be lost", async ({ scheduler, store }) => {
  await store.flushDb();

  expect(await scheduler.take("default")).toBeUndefined();
  expect(await store.dbSize()).toBe(0);
});

test("there is one leader, for an hour", async ({ store }) => {
  expect(await store.set("leader", "worker-2", { condition: "NX" })).toBeNull();
  expect(await store.ttl("leader")).toBeGreaterThan(3000);

  await store.del("leader");
  expect(await store.set("leader", "worker-2", { condition: "NX" })).toBe("OK");
});

test("who listens hears of runs, in their order", async ({ database, store }) => {
  const channel = `worker${workerNumber()}.runs`; // all workers use one server
  const [teller, listener] = await Promise.all([
    Channel.connect(variable("WS_URL"), channel),
    Channel.connect(variable("WS_URL"), channel),
  ]);
  onTestFinished(() => [teller, listener].forEach((channel) => channel.close()));
  await listener.listen();
  const scheduler = new Scheduler(database, store, (message) => teller.tell(message));

  const run = await scheduler.trigger("schedule-1");
  await scheduler.end(99, "cancelled");

  expect([await listener.next(), await listener.next()]).toEqual([
    { event: 199, kind: "run.queued", run },
    { event: 200, kind: "run.cancelled", run: 99 },
  ]);
});
