"use strict";

const { option, run } = require("./command.cjs");
const { Conversation } = require("./conversation.cjs");

const INSPECT = Symbol.for("nodejs.util.inspect.custom");
const DISPOSE = Symbol.asyncDispose ?? Symbol.for("nodejs.asyncDispose");

/** Makes databases in one environment: of Postgres, and logical ones of Redis. */
class Databases {
  #command;
  #which;
  #how;
  #resets;
  #made = new Map();

  /**
   * @param {string[]} command What runs envctl.
   * @param {string[]} which Options that say which environment.
   * @param {object} how As for `run`.
   */
  constructor(command, which, how) {
    this.#command = command;
    this.#which = which;
    this.#how = how;
    this.#resets = new Conversation([...command, "db", "reset", "--stdin", ...which], how);
  }

  async create({ name, service, replace } = {}) {
    const which = [...this.#which, ...option("service", service)];
    const words = ["db", "create", ...(replace ? ["--replace"] : []), ...which, "--format=json"];
    const made = await run(this.#command, [...words, ...(name === undefined ? [] : ["--", name])], this.#how);
    const drop = async () => {
      this.#made.delete(key);
      await run(this.#command, ["db", "drop", ...which, "--format=json", "--", made.database], this.#how);
    };
    const key = `${made.service} ${made.database}`; // what a reset is asked for with
    this.#made.set(key, drop);
    return database(made, () => this.#resets.ask(key).then(() => {}), drop);
  }

  /** Removes what was made and not dropped. */
  async close() {
    await this.#resets.close();
    for (const drop of [...this.#made.values()]) {
      await drop();
    }
  }
}

function database(made, reset, drop) {
  const { service, host, port } = made;
  const shown = `database "${made.database}" of "${service}" at ${host}:${port}`;
  const members = { reset, drop, [DISPOSE]: drop, [INSPECT]: () => shown };
  const hidden = Reflect.ownKeys(members).map((key) => [key, { value: members[key] }]);
  const variables = Object.freeze({ ...made.variables });
  return Object.freeze(Object.defineProperties({ ...made, variables }, Object.fromEntries(hidden)));
}

module.exports = { Databases };
