import { commandOf, option, run } from "./command.cjs";
import { Conversation } from "./conversation.cjs";
import { Databases } from "./database.cjs";
import { EnvctlError } from "./error.cjs";

export { EnvctlError };

// To envctl all uses of an environment by this process are one session, which the last of them ends: so they are
// counted, and none begins while another one ends. Kept where other copies of this module find it.
const shared = (globalThis[Symbol.for("envctl")] ??= { uses: new Map(), last: Promise.resolve() });

const INSPECT = Symbol.for("nodejs.util.inspect.custom");
const DISPOSE = Symbol.asyncDispose ?? Symbol.for("nodejs.asyncDispose");

/** Brings the environment up, or takes the one that is up, until `close()` or the end of this process. */
export async function up(options = {}) {
  const { cwd, fresh, keep } = options;
  const command = commandOf(options.command);
  const session = `--while-pid=${process.pid}`;
  const end = ["down", session, "--format=json"];
  const which = [...option("file", options.file), ...option("branch", options.branch), ...option("name", options.name)];
  const how = [...option("engine", options.engine), ...option("timeout", duration(options.timeout))];
  const begin = ["up", ...(keep ? [] : [session]), ...(fresh ? ["--fresh"] : []), ...which, ...how, "--format=json"];
  return inTurn(async () => {
    const report = await run(command, begin, { cwd, undo: end });
    const env = { ...process.env, ...(report.session && { ENVCTL_SESSION: report.session }) };
    const means = { command, which, how: { cwd, env } };
    return new Environment(report, means, keep ? undefined : () => run(command, end, { cwd, env }));
  });
}

/** Does it when all that was to be done before is done. */
function inTurn(task) {
  const done = shared.last.then(task);
  shared.last = done.catch(() => {});
  return done;
}

function duration(timeout) {
  return typeof timeout === "number" ? `${timeout}ms` : timeout;
}

class Environment {
  #end;
  #closed;
  #resets;
  #databases;

  constructor(report, { command, which, how }, end) {
    this.name = report.environment;
    this.project = report.project;
    this.branch = report.branch;
    this.engine = report.engine;
    this.services = Object.freeze(connections(report.services));
    this.variables = Object.freeze({ ...report.variables, ...(report.session && { ENVCTL_SESSION: report.session }) });
    this.timings = Object.freeze(report.timings_ms);
    this.#end = end;
    this.#resets = new Conversation([...command, "reset", "--stdin", ...which], how);
    this.#databases = new Databases(command, which, how);
    shared.uses.set(this.name, (shared.uses.get(this.name) ?? 0) + 1);
    Object.freeze(this);
  }

  get postgres() {
    return this.#first("postgres");
  }

  get redis() {
    return this.#first("redis");
  }

  get websocket() {
    return this.#first("websocket");
  }

  #first(kind) {
    const found = Object.values(this.services).find((service) => service.kind === kind);
    if (found) {
      return found;
    }
    const message = `the environment "${this.name}" has no service of kind ${kind}`;
    const fix = [`it has ${Object.keys(this.services).join(", ") || "no services at all"}; see envctl.yaml`];
    throw new EnvctlError({ code: "NO_SERVICE", exit: 66, message, fix });
  }

  /** Puts the data of services (of all, without names) back to what they were seeded with. */
  async reset(...services) {
    const { reset } = await this.#resets.ask(services.join(" "));
    return reset;
  }

  /** A database of one's own: a copy of the seeded baseline, else of what the environment's own database holds. */
  database(options) {
    return this.#databases.create(options);
  }

  /** A logical database of Redis of one's own. */
  redisDatabase({ service = "redis", ...options } = {}) {
    return this.#databases.create({ service, ...options });
  }

  /** Ends this use of it. Removes it, if it was made for such a use and nobody else has one. Again does nothing. */
  close() {
    this.#closed ??= inTurn(() => this.#leave());
    return this.#closed;
  }

  async #leave() {
    await Promise.all([this.#resets.close(), this.#databases.close()]);
    const others = shared.uses.get(this.name) - 1;
    shared.uses.set(this.name, others);
    if (others === 0) {
      await this.#end?.();
    }
  }

  [DISPOSE]() {
    return this.close();
  }

  [INSPECT]() {
    return `Environment ${this.name} (${this.engine}: ${Object.keys(this.services).join(", ")})`;
  }
}

/** Service → how to reach it. Passwords are not shown where a connection is printed. */
function connections(services) {
  const entries = Object.entries(services).map(([name, { state, ready_ms, detail, ...reached }]) => {
    const connection = { service: name, ...reached };
    const shown = `${reached.kind} "${name}" at ${reached.host}:${reached.port}`;
    Object.defineProperty(connection, INSPECT, { value: () => shown });
    return [name, Object.freeze(connection)];
  });
  return Object.fromEntries(entries);
}
