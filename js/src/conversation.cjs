"use strict";

const { spawn } = require("node:child_process");
const { collect, endOf, notStarted, STDERR_LIMIT } = require("./command.cjs");
const { EnvctlError, errorOf } = require("./error.cjs");

/**
 * An envctl that stays, and answers each line with a line of JSON: a word with it takes a millisecond, a call 100.
 *
 * It is started by the first question, and ends with this process, however that ends: its input ends then. It does not
 * keep this process alive, unless an answer is waited for.
 */
class Conversation {
  #call;
  #how;
  #child;
  #last = Promise.resolve();

  /**
   * @param {string[]} call What is called, with all arguments.
   * @param {object} how
   * @param {string} [how.cwd] The folder to run it in.
   * @param {object} [how.env] Its variables.
   */
  constructor(call, how) {
    this.#call = call;
    this.#how = how;
  }

  /** The answer to a line. Questions are asked one after the other. Throws an EnvctlError where it is an error. */
  ask(line) {
    const answer = this.#last.then(() => this.#ask(line));
    this.#last = answer.catch(() => {});
    return answer;
  }

  /** Ends it, after the last answer; another question would start it again. */
  async close() {
    await this.#last;
    const child = this.#child;
    this.#child = undefined;
    if (child) {
      child.hold();
      child.process.stdin.end();
      await child.ended;
    }
  }

  async #ask(line) {
    const child = (this.#child ??= started(this.#call, this.#how));
    child.hold();
    try {
      child.process.stdin.write(`${line}\n`);
      const answer = await Promise.race([child.next(), child.ended.then(() => undefined)]);
      if (answer === undefined) {
        this.#child = undefined;
        throw child.failure ?? errorOf(this.#call.join(" "), await child.ended, child.stderr());
      }
      const told = JSON.parse(answer);
      if (told.error) {
        throw new EnvctlError(told.error);
      }
      return told;
    } finally {
      child.release();
    }
  }
}

function started([program, ...args], { cwd, env }) {
  // In a group of its own, so that a Ctrl-C does not end it in the middle of a reset.
  const process = spawn(program, args, { cwd, env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  const child = { process, next: lines(process.stdout), stderr: collect(process.stderr, STDERR_LIMIT) };
  process.stdin.on("error", () => {}); // it has ended, which is told by `ended`
  child.ended = endOf(process).catch((error) => {
    child.failure = notStarted(error, program, cwd);
    return { code: null, signal: null };
  });
  const parts = [process, process.stdin, process.stdout, process.stderr];
  child.hold = () => parts.forEach((part) => part.ref?.());
  child.release = () => parts.forEach((part) => part.unref?.());
  return child;
}

/** A function that gives the next line of a stream, when there is one. */
function lines(stream) {
  const ready = [];
  const waiting = [];
  let begun = "";
  stream.setEncoding("utf8");
  stream.on("data", (text) => {
    const whole = (begun + text).split("\n");
    begun = whole.pop();
    for (const line of whole) {
      const waiter = waiting.shift();
      waiter ? waiter(line) : ready.push(line);
    }
  });
  return () => (ready.length > 0 ? Promise.resolve(ready.shift()) : new Promise((resolve) => waiting.push(resolve)));
}

module.exports = { Conversation };
