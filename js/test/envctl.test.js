// A small program stands in for envctl here: what is tested is how it is called and what is made of what it says.
// The real one is behind tests/embedded/test_javascript.py and the example of TypeScript.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";
import { EnvctlError, up } from "envctl";

const REPORT = {
  environment: "shop-main-3fa91c02",
  project: "shop",
  branch: "main",
  engine: "embedded",
  session: "5e55",
  services: {
    postgres: { kind: "postgres", state: "ready", ready_ms: 9, host: "127.0.0.1", port: 20431, password: "secret" },
    mailer: { kind: "generic", state: "ready", host: "127.0.0.1", port: 20433, ports: { smtp: 20432, http: 20433 } },
  },
  variables: { DATABASE_URL: "postgresql://app:secret@127.0.0.1:20431/shop" },
  timings_ms: { total: 9 },
};
const ERROR = {
  code: "SERVICE_EXITED",
  exit: 80,
  message: 'service "websocket" stopped with code 1 after 0.8 s',
  cause: "its last line:\nError: Cannot find module './server.js'",
  evidence: ["\x1b[31mred\x1b[0m", "\u202eback"],
  fix: ["check the command", "whole log: envctl logs websocket"],
  state: "rolled back: 3 containers",
  leftovers: ["a volume"],
};

/** A command that notes its arguments in `calls`, then does what the code says. */
function standIn(t, code = "") {
  const folder = mkdtempSync(join(tmpdir(), "envctl-js-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const calls = join(folder, "calls");
  writeFileSync(calls, "");
  const program = `
    const args = process.argv.slice(1), calls = ${JSON.stringify(calls)};
    const report = ${JSON.stringify(REPORT)}, error = ${JSON.stringify(ERROR)};
    const note = (what) => require("fs").appendFileSync(calls, JSON.stringify(what) + "\\n");
    const print = (what) => console.log(JSON.stringify(what));
    const fail = (error) => { console.error(JSON.stringify({ error })); process.exitCode = error.exit; };
    note(args);
    ${code || "print(report)"}`;
  const said = () => readFileSync(calls, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
  return { command: [process.execPath, "-e", program, "--"], said };
}

const SESSION = `--while-pid=${process.pid}`;
const END = ["down", SESSION, "--format=json"];

test("what an option says is one argument of envctl's, whatever is in it", async (t) => {
  const { command, said } = standIn(t);
  const branch = "--fresh $(touch x); 'it''s' \"late\"";

  const environment = await up({ command, branch, file: "-f", name: "b", engine: "compose", fresh: true, timeout: 1500 });
  await environment.close();

  const which = ["--file=-f", `--branch=${branch}`, "--name=b"];
  const how = ["--engine=compose", "--timeout=1500ms"];
  assert.deepEqual(said(), [
    ["up", SESSION, "--fresh", ...which, ...how, "--format=json"],
    END,
  ]);
});

test("what is kept is of no session, and is not ended", async (t) => {
  const { command, said } = standIn(t);

  await (await up({ command, keep: true })).close();

  assert.deepEqual(said(), [["up", "--format=json"]]);
});

test("this process is one session, which ends with the last of its uses", async (t) => {
  const code = `
    const end = () => { note({ session: process.env.ENVCTL_SESSION }); print({}); };
    args[0] === "up" ? print(report) : setTimeout(end, 100); // a removal takes its time`;
  const { command, said } = standIn(t, code);
  const [one, other] = [await up({ command }), await up({ command })];

  await Promise.all([one.close(), one.close()]);
  const before = said().map(([verb]) => verb);
  const [, again] = await Promise.all([other.close(), up({ command })]);
  await again.close();

  assert.deepEqual(before, ["up", "up"]);
  const ended = [END, { session: "5e55" }];
  assert.deepEqual(said().slice(2), [...ended, ["up", SESSION, "--format=json"], ...ended]);
});

test("services are found by name and by kind, without their passwords where they are printed", async (t) => {
  const environment = await up(standIn(t));

  const { postgres, services, variables } = environment;
  assert.equal(postgres, services.postgres);
  const reached = { service: "postgres", kind: "postgres", host: "127.0.0.1", port: 20431, password: "secret" };
  assert.deepEqual({ ...postgres }, reached);
  assert.equal(services.mailer.ports.smtp, 20432);
  assert.deepEqual(variables, { ...REPORT.variables, ENVCTL_SESSION: "5e55" });
  assert.doesNotMatch(inspect({ environment, postgres }), /secret/);
  assert.throws(() => environment.redis, { code: "NO_SERVICE", message: /no service of kind redis\n.*postgres, mailer/ });
  await environment.close();
});

test("resets are lines to one program that stays, and an error is the answer to its own line", async (t) => {
  const code = `
    if (args[0] === "reset") {
      require("readline").createInterface(process.stdin).on("line", (line) => {
        print(line === "bad" ? { error } : line === "die" ? process.exit(3) : { reset: [{ service: line }] });
      }).on("close", () => note("ended"));
    } else {
      print(report);
    }`;
  const { command, said } = standIn(t, code);
  const environment = await up({ command, name: "b" });

  const answers = await Promise.allSettled(["one", "bad", ""].map((service) => environment.reset(service)));
  assert.deepEqual(answers[0].value, [{ service: "one" }]);
  assert.equal(answers[1].reason.code, "SERVICE_EXITED");
  assert.deepEqual(answers[2].value, [{ service: "" }]);
  await assert.rejects(environment.reset("die"), { code: "NO_ANSWER", message: /ended with code 3/ });
  assert.deepEqual(await environment.reset("again"), [{ service: "again" }]);
  await environment.close();

  const reset = ["reset", "--stdin", "--name=b"];
  assert.deepEqual(said().slice(1), [reset, reset, "ended", END]);
});

/** What a stand-in says of databases: a reset is noted. */
const LENDS = `
    const service = (args.find((word) => word.startsWith("--service=")) ?? "--service=postgres").slice(10);
    const made = { service, kind: service, database: args.at(-1), host: "127.0.0.1", port: 20431, password: "secret" };
    if (args.includes("--stdin")) {
      require("readline").createInterface(process.stdin).on("line", (line) => (note(line), print({})));
    } else {
      print(args[0] === "db" ? { ...made, variables: { ["URL_OF_" + service]: made.database } } : report);
    }`;

test("databases are made, put back and removed by name; what is left goes at the end", async (t) => {
  const { command, said } = standIn(t, LENDS);
  const environment = await up({ command });

  const own = await environment.database({ name: "--own", replace: true, service: "other" });
  const keys = await environment.redisDatabase({ name: "left" });
  await own.reset();
  await keys.reset();
  await own.drop();
  await environment.close();

  assert.deepEqual({ ...own.variables }, { URL_OF_other: "--own" });
  assert.doesNotMatch(inspect(own), /secret/);
  assert.deepEqual(said().slice(1), [
    ["db", "create", "--replace", "--service=other", "--format=json", "--", "--own"],
    ["db", "create", "--service=redis", "--format=json", "--", "left"],
    ["db", "reset", "--stdin"],
    "other --own",
    "redis left",
    ["db", "drop", "--service=other", "--format=json", "--", "--own"],
    ["db", "drop", "--service=redis", "--format=json", "--", "left"],
    END,
  ]);
});

test("a worker has data of its own of what the environment has, once, and its variables lead there", async (t) => {
  const { command, said } = standIn(t, LENDS);
  const before = { ...process.env };
  t.after(() => Object.keys(process.env).forEach((name) => name in before || delete process.env[name]));
  Object.assign(process.env, { ENVCTL_COMMAND: "not/this", VITEST_POOL_ID: "7", REDIS_URL: "shared" });
  const { useWorkerData, useWorkerRedis, workerRedis } = await import("envctl/worker");

  await assert.rejects(useWorkerData(), { code: "NOT_INSTALLED" }); // of Redis alone: there is no DATABASE_URL
  const own = await useWorkerRedis({ command });
  assert.equal(await workerRedis(), own);
  assert.match(own.database, /^worker7_[0-9a-f]{8}$/);
  assert.equal(process.env.URL_OF_redis, own.database);
  assert.deepEqual(said(), [["db", "create", "--replace", "--service=redis", "--format=json", "--", own.database]]);
});

test("an error of envctl's reads as on its command line, and steers no terminal", async (t) => {
  const told = await up(standIn(t, `console.error("a line before it"); fail(error)`)).catch((error) => error);

  assert.ok(told instanceof EnvctlError);
  assert.deepEqual([told.code, told.exitCode], ["SERVICE_EXITED", 80]);
  assert.equal(
    told.message,
    [
      'error[SERVICE_EXITED] service "websocket" stopped with code 1 after 0.8 s',
      "  cause  its last line:",
      "         Error: Cannot find module './server.js'",
      "         | \\x1b[31mred\\x1b[0m",
      "         | \\u202eback",
      "  fix    check the command",
      "  fix    whole log: envctl logs websocket",
      "  state  rolled back: 3 containers",
      "  left   a volume",
    ].join("\n"),
  );
  assert.equal(told.stack, `EnvctlError: ${told.message}`);
});

test("a program that is not there, or is another one, is told with what to do", async (t) => {
  await assert.rejects(up({ command: "envctl-that-is-not-there" }), { code: "NOT_INSTALLED", message: /fix +pip install/ });
  await assert.rejects(up({ ...standIn(t), cwd: "/not/there" }), { code: "USAGE", message: /no folder \/not\/there/ });
  await assert.rejects(up({ command: process.cwd() }), { code: "NOT_STARTED", message: /EACCES/ });
  const other = standIn(t, `console.error("what?"); process.exitCode = 3`);
  await assert.rejects(up(other), { code: "NO_ANSWER", message: /ended with code 3 .*\n +\| what\?\n/ });
});

test("a program that never stops talking is stopped", { timeout: 20_000 }, async (t) => {
  const chatty = standIn(t, `const more = () => process.stdout.write("x".repeat(1e6), more); more()`);

  await assert.rejects(up(chatty), { code: "NO_ANSWER", message: /SIGTERM/ });
});

test("the variable ENVCTL_COMMAND names the program, with arguments", async (t) => {
  const before = process.env.ENVCTL_COMMAND;
  t.after(() => (before === undefined ? delete process.env.ENVCTL_COMMAND : (process.env.ENVCTL_COMMAND = before)));
  process.env.ENVCTL_COMMAND = `${process.execPath}  --eval console.error(process.argv[1]+process.env.X) -- `;

  await assert.rejects(up({ cwd: "/" }), { message: /\| upundefined/ });
});

// What a stand-in does that is interrupted: it takes its time to roll back, and says when it has.
const SLOW = `
  if (args[0] === "down") {
    while (!require("fs").readFileSync(calls, "utf8").includes("rolled back")); // the lock of a real one
    print({});
  } else {
    const rollBack = () => setTimeout(() => { note("rolled back"); fail(error); clearInterval(life); }, 200);
    process.once("SIGINT", rollBack).once("SIGTERM", rollBack);
    const life = setInterval(() => {}, 1000);
    note("at work");
  }`;

/** How a process ended that got Ctrl-C while it brought up, and what its stand-in had said by then. */
async function interrupted(t, beside) {
  const { command, said } = standIn(t, SLOW);
  const script = `import { up } from "envctl"; ${beside} await up({ command: ${JSON.stringify(command)} });`;
  const cwd = new URL(".", import.meta.url);
  const host = spawn(process.execPath, ["--input-type=module", "--eval", script], { cwd, stdio: "ignore" });
  t.after(() => host.kill("SIGKILL"));
  const ended = once(host, "exit");
  while (!said().includes("at work")) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  host.kill("SIGINT");
  const [code, signal] = await ended;
  return { code, signal, said: said(), session: `--while-pid=${host.pid}` };
}

test("Ctrl-C during `up` ends envctl, which rolls back, and only then us", { timeout: 20_000 }, async (t) => {
  const { signal, said } = await interrupted(t, "");

  assert.equal(signal, "SIGINT");
  assert.equal(said.at(-1), "rolled back");
});

test("nor is a program gone before that which ends at once on Ctrl-C", { timeout: 20_000 }, async (t) => {
  const { code, said, session } = await interrupted(t, `process.once("SIGINT", () => process.exit(5));`);

  assert.equal(code, 5);
  // In either order: on a busy machine the roll-back is done before the other program has started.
  assert.deepEqual(new Set(said.slice(-2).map(String)), new Set([`down,${session},--format=json`, "rolled back"]));
});

test("the runners' set-ups set the variables, and take them back", async (t) => {
  const { command, said } = standIn(t);
  const vitest = await import("envctl/vitest");
  const jest = await import("envctl/jest");
  const teardown = await import("envctl/jest-teardown");
  const { DATABASE_URL } = REPORT.variables;
  process.env.DATABASE_URL = "before";
  t.after(() => delete process.env.DATABASE_URL);
  const provided = {};
  const project = { config: { root: "/" }, provide: (key, value) => Object.assign(provided, { [key]: value }) };

  const leave = await vitest.globalSetup({ command })(project);
  assert.equal(process.env.DATABASE_URL, DATABASE_URL);
  assert.equal(provided.envctl.variables.DATABASE_URL, DATABASE_URL);
  await leave();
  assert.deepEqual([process.env.DATABASE_URL, process.env.ENVCTL_SESSION], ["before", undefined]);

  await jest.globalSetup({ command })({ rootDir: "/" });
  assert.equal(process.env.DATABASE_URL, DATABASE_URL);
  await teardown.default();
  assert.equal(process.env.DATABASE_URL, "before");

  assert.deepEqual(said().map(([verb]) => verb), ["up", "down", "up", "down"]);
});
