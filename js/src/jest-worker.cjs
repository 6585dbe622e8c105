"use strict";

const { useWorkerData } = require("./worker.cjs");

/** For Jest's `setupFiles`: the worker's variables lead to databases of its own, which are as new for each test file. */
module.exports = async () => {
  await useWorkerData();
};
