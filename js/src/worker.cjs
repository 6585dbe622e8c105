"use strict";

const { createHash } = require("node:crypto");
const { commandOf } = require("./command.cjs");
const { Databases } = require("./database.cjs");

// Kept where other copies of this module find it: test runners load each file's modules anew.
const known = (globalThis[Symbol.for("envctl.worker")] ??= new Map());

/** The number that a test runner has given this worker; "1" where it runs by itself. */
function workerNumber() {
  const { VITEST_POOL_ID, JEST_WORKER_ID, TEST_PARALLEL_INDEX, ENVCTL_WORKER } = process.env;
  return VITEST_POOL_ID ?? JEST_WORKER_ID ?? TEST_PARALLEL_INDEX ?? ENVCTL_WORKER ?? "1";
}

/** This worker's own database, as new; the same one each time it is asked for in a process or thread. */
function workerDatabase({ service, command, cwd } = {}) {
  const key = service ?? "";
  if (!known.has(key)) {
    const run = createHash("sha256").update(process.env.ENVCTL_SESSION ?? "").digest("hex").slice(0, 8);
    const databases = new Databases(commandOf(command), [], { cwd });
    const name = `worker${workerNumber().replace(/\W/g, "_")}_${run}`;
    const made = databases.create({ name, service, replace: true });
    made.catch(() => known.delete(key)); // so that it is tried again
    known.set(key, made);
  }
  return known.get(key);
}

/** Sets this worker's variables in process.env: all that lead to the database lead to its own. */
async function useWorkerDatabase(options) {
  const database = await workerDatabase(options);
  Object.assign(process.env, database.variables);
  return database;
}

module.exports = { useWorkerDatabase, workerDatabase, workerNumber };
