"use strict";

const { spawn, spawnSync } = require("node:child_process");
const { existsSync } = require("node:fs");
const { resolve } = require("node:path");
const { EnvctlError, errorOf } = require("./error.cjs");

const STDOUT_LIMIT = 16 * 1024 * 1024;
const STDERR_LIMIT = 1024 * 1024;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];
const PATIENCE_MS = 3000;
const UNDO_LIMIT_MS = 60_000;

/** The program and its first arguments: as given, else from ENVCTL_COMMAND, else `envctl`. */
function commandOf(command = process.env.ENVCTL_COMMAND || "envctl") {
  const [program = "envctl", ...first] = typeof command === "string" ? command.split(/\s+/).filter(Boolean) : command;
  return [program.includes("/") ? resolve(program) : program, ...first];
}

/**
 * Runs envctl to its end, without a shell.
 *
 * It gets a process group of its own: a Ctrl-C reaches it once, through us, and not at all while it removes.
 *
 * @param {string[]} command What runs envctl.
 * @param {string[]} args Its arguments.
 * @param {object} how
 * @param {string} [how.cwd] The folder to run it in.
 * @param {object} [how.env] Its variables, if others than ours.
 * @param {string[]} [how.undo] For a call that a signal is to end: arguments of the one that removes what it began.
 * @returns What it printed, parsed.
 */
async function run(command, args, { cwd, env, undo }) {
  const [program, ...first] = command;
  const child = spawn(program, [...first, ...args], { cwd, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  const stdout = collect(child.stdout, STDOUT_LIMIT, () => child.kill());
  const stderr = collect(child.stderr, STDERR_LIMIT);
  const settle = undo ? passSignals(child, () => runNow(program, [...first, ...undo], cwd)) : () => {};
  const patience = undo && setTimeout(() => console.error("envctl: the services are starting …"), PATIENCE_MS);
  let ended;
  try {
    ended = await endOf(child);
  } catch (error) {
    throw notStarted(error, program, cwd);
  } finally {
    clearTimeout(patience);
    settle();
  }
  const printed = ended.code === 0 ? parsed(stdout()) : undefined;
  if (printed === undefined) {
    throw errorOf([...command, ...args].join(" "), ended, stderr());
  }
  return printed;
}

function option(name, value) {
  return value === undefined ? [] : [`--${name}=${value}`]; // in one argument, so that no value is taken for an option
}

/** Keeps the last `limit` bytes of a stream; the function it returns gives them as text. */
function collect(stream, limit, onTooMuch = () => {}) {
  const chunks = [];
  let size = 0;
  stream.on("data", (chunk) => {
    chunks.push(chunk);
    size += chunk.length;
    while (size > limit) {
      size -= chunks.shift().length;
      onTooMuch();
    }
  });
  return () => Buffer.concat(chunks).toString("utf8");
}

function endOf(child) {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
}

function parsed(stdout) {
  try {
    return JSON.parse(stdout);
  } catch {
    return undefined;
  }
}

/**
 * Has signals end the child, and this process only after it. Where somebody else ends this process at once, as vitest
 * does, `undo` is called on its way out, and has to be done when it returns.
 */
function passSignals(child, undo) {
  let arrived;
  const pass = (signal) => {
    arrived ??= signal;
    child.kill(signal);
  };
  const leave = () => {
    if (!arrived) {
      child.kill();
    }
    undo();
  };
  SIGNALS.forEach((signal) => process.on(signal, pass));
  process.on("exit", leave);
  return () => {
    SIGNALS.forEach((signal) => process.off(signal, pass));
    process.off("exit", leave);
    if (arrived && process.listenerCount(arrived) === 0) {
      process.kill(process.pid, arrived); // what would have happened had we not listened
    }
  };
}

function runNow(program, args, cwd) {
  spawnSync(program, args, { cwd, stdio: "ignore", timeout: UNDO_LIMIT_MS });
}

function notStarted(error, program, cwd) {
  if (cwd !== undefined && !existsSync(cwd)) {
    const message = `there is no folder ${cwd}`;
    return new EnvctlError({ code: "USAGE", exit: 2, message, fix: ["check option `cwd`"] });
  }
  if (error.code !== "ENOENT") {
    const message = `${program} cannot be started`;
    return new EnvctlError({ code: "NOT_STARTED", exit: 126, message, cause: error.message });
  }
  return new EnvctlError({
    code: "NOT_INSTALLED",
    exit: 127,
    message: "envctl is not installed here",
    cause: `there is no program ${program}` + (program.includes("/") ? "" : " on the PATH"),
    fix: [
      "pip install 'envctl[embedded]'",
      "where it is in a virtual environment: ENVCTL_COMMAND=.venv/bin/envctl, or option `command`",
    ],
  });
}

module.exports = { collect, commandOf, endOf, notStarted, option, run, STDERR_LIMIT };
