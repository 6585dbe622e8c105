"use strict";

const { useWorkerDatabase } = require("./worker.cjs");

/** For Jest's `setupFiles`: the worker's variables lead to a database of its own, which is as new for each test file. */
module.exports = async () => {
  await useWorkerDatabase();
};
