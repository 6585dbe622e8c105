"use strict";

const { option, run } = require("./command.cjs");
const { Conversation } = require("./conversation.cjs");

const INSPECT = Symbol.for("nodejs.util.inspect.custom");
const DISPOSE = Symbol.asyncDispose ?? Symbol.for("nodejs.asyncDispose");

/** Makes databases in one environment. */
class Databases {
  #command;
  #which;
  #how;
  #resets = new Map();
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
  }

  async create({ name, service, replace } = {}) {
    const which = [...this.#which, ...option("service", service)];
    const words = ["db", "create", ...(replace ? ["--replace"] : []), ...which, "--format=json"];
    const made = await run(this.#command, [...words, ...(name === undefined ? [] : ["--", name])], this.#how);
    const drop = async () => {
      this.#made.delete(made.database);
      await run(this.#command, ["db", "drop", ...which, "--format=json", "--", made.database], this.#how);
    };
    this.#made.set(made.database, drop);
    return database(made, () => this.#reset(made, which), drop);
  }

  /** Removes what was made and not dropped. */
  async close() {
    const resets = [...this.#resets.values()];
    this.#resets.clear();
    await Promise.all(resets.map((reset) => reset.close()));
    for (const drop of [...this.#made.values()]) {
      await drop();
    }
  }

  async #reset(made, which) {
    if (!this.#resets.has(made.service)) {
      const call = [...this.#command, "db", "reset", "--stdin", ...which];
      this.#resets.set(made.service, new Conversation(call, this.#how));
    }
    await this.#resets.get(made.service).ask(made.database);
  }
}

function database(made, reset, drop) {
  const { service, host, port } = made;
  const shown = `database "${made.database}" of "${service}" at ${host}:${port}`;
  const members = { reset, drop, [DISPOSE]: drop, [INSPECT]: () => shown };
  const hidden = Reflect.ownKeys(members).map((key) => [key, { value: members[key] }]);
  const variables = Object.freeze({ ...made.variables });
  return Object.freeze(Object.defineProperties({ kind: "postgres", ...made, variables }, Object.fromEntries(hidden)));
}

module.exports = { Databases };
