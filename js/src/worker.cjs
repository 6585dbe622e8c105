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
    const name = `worker${workerNumber().replace(/\W/g, "_")}_${run}`;
    const made = databases(command, cwd).create({ name, service, replace: true });
    made.catch(() => known.delete(key)); // so that it is tried again
    known.set(key, made);
  }
  return known.get(key);
}

/** This worker's own logical database of Redis, with what was seeded; the same one each time. */
function workerRedis({ service = "redis", ...options } = {}) {
  return workerDatabase({ service, ...options });
}

/** Sets this worker's variables in process.env: all that lead to the database lead to its own. */
async function useWorkerDatabase(options) {
  return used(await workerDatabase(options));
}

/** The same for Redis. */
async function useWorkerRedis(options) {
  return used(await workerRedis(options));
}

/** Both, as far as the environment has them. */
async function useWorkerData() {
  const { DATABASE_URL, REDIS_URL } = process.env;
  if (REDIS_URL === undefined) {
    await useWorkerDatabase();
    return;
  }
  const others = (error) => {
    if (error.code !== "NO_SERVICE") {
      throw error; // else the variable is not of this environment
    }
  };
  await Promise.all([DATABASE_URL !== undefined && useWorkerDatabase(), useWorkerRedis().catch(others)]);
}

/** What makes them and puts them back: one for all, so that one program does it. */
function databases(command, cwd) {
  const program = commandOf(command);
  const key = JSON.stringify([program, cwd]);
  if (!known.has(key)) {
    known.set(key, new Databases(program, [], { cwd }));
  }
  return known.get(key);
}

function used(database) {
  Object.assign(process.env, database.variables);
  return database;
}

module.exports = { useWorkerData, useWorkerDatabase, useWorkerRedis, workerDatabase, workerNumber, workerRedis };
