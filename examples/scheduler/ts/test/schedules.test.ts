import { describe, expect } from "vitest";
import { Refused } from "../src/scheduler.ts";
import { one, test } from "./fixtures.ts";

test("a schedule that is triggered has its workflow run", async ({ scheduler, database, store }) => {
  expect(await scheduler.trigger("schedule-1")).toBe(101);

  expect(await one(database, "SELECT state, input FROM runs WHERE id = 101")).toEqual({
    state: "queued",
    input: { source: "schedule-1" },
  });
  expect(await one(database, "SELECT count(*)::integer AS steps FROM run_steps WHERE run_id = 101")).toEqual({ steps: 4 });
  expect(await store.lRange("queue:default", 0, -1)).toEqual(["run:100", "run:101"]);
});

test("runs are numbered", async ({ scheduler }) => {
  expect([await scheduler.trigger("schedule-1"), await scheduler.trigger("churn-weekly")]).toEqual([101, 102]);
});

describe("what is refused", () => {
  test.for([
    ["schedule-9", "Scheduled workflow not found for schedule: schedule-9"],
    ["reindex", "schedule reindex is paused"],
    ["old-prices", "schedule old-prices is retired"],
  ] as const)("%s", async ([name, why], { scheduler, database }) => {
    await expect(scheduler.trigger(name)).rejects.toThrow(new Refused(why));

    expect(await one(database, "SELECT max(id)::integer AS run FROM runs")).toEqual({ run: 100 });
  });

  test("a pause during a pause", async ({ scheduler, store }) => {
    await scheduler.pause("schedule-1", "repairs");
    await expect(scheduler.pause("schedule-1", "more repairs")).rejects.toThrow(/schedule_pauses/);

    expect(await store.zScore("due", "schedule-1")).toBeNull();
  });
});

test("a paused schedule is not triggered", async ({ scheduler, database }) => {
  await scheduler.pause("schedule-1", "repairs");

  await expect(scheduler.trigger("schedule-1")).rejects.toThrow("schedule schedule-1 is paused");
  expect(await one(database, "SELECT count(*)::integer AS due FROM due_schedules")).toEqual({ due: 4 });
});

test("a change is noted by the triggers", async ({ scheduler, database }) => {
  await scheduler.pause("schedule-1", "repairs");

  const noted = "SELECT id::integer, row_after->>'state' AS state FROM audit.log ORDER BY id DESC LIMIT 1";
  expect(await one(database, noted)).toEqual({ id: 29, state: "paused" });
});
