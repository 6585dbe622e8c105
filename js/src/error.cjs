"use strict";

// What `envctl/host/terminal.py` calls unsafe: characters that steer a terminal, reorder text or hide in it.
// A service's log lines are in an error's evidence, so they reach a terminal through here.
const UNSAFE =
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff\u{e0000}-\u{e007f}]/gu;

/** An error of envctl's, told as its command line tells it. */
class EnvctlError extends Error {
  constructor(details) {
    super(text(details));
    // Where in this package it was noticed explains nothing.
    this.stack = `${this.name}: ${this.message}`;
    this.code = details.code;
    this.exitCode = details.exit;
  }
}
Object.defineProperty(EnvctlError.prototype, "name", { value: "EnvctlError" });

/** The error that a call of envctl has printed as JSON, or one that says that it printed none. */
function errorOf(call, ended, stderr) {
  const how = ended.signal ?? `code ${ended.code}`;
  const printed = stderr.split("\n").findLast((line) => line.startsWith('{"error"'));
  const details = printed === undefined ? undefined : parsed(printed);
  return new EnvctlError(
    details ?? {
      code: "NO_ANSWER",
      exit: ended.code ?? 1,
      message: `\`${call}\` ended with ${how} and printed nothing that is understood here`,
      evidence: stderr.split("\n").filter((line) => line.trim()).slice(-20),
      fix: ["run it by hand to see more", "check that this is envctl: option `command`, or ENVCTL_COMMAND"],
    },
  );
}

function parsed(line) {
  try {
    return JSON.parse(line).error;
  } catch {
    return undefined;
  }
}

function text(details) {
  const lines = [`error[${details.code}] ${details.message}`];
  const add = (label, value) => {
    lines.push(...value.split("\n").map((line, at) => `  ${(at === 0 ? label : "").padEnd(5)}  ${line}`));
  };
  if (details.cause) {
    add("cause", details.cause);
  }
  for (const line of details.evidence ?? []) {
    add("", `| ${line}`);
  }
  for (const fix of details.fix ?? []) {
    add("fix", fix);
  }
  if (details.state) {
    add("state", details.state);
  }
  for (const left of details.leftovers ?? []) {
    add("left", left);
  }
  return lines.join("\n").replace(UNSAFE, visible);
}

function visible(character) {
  const code = character.codePointAt(0);
  const digits = code.toString(16);
  const [letter, width] = code < 0x100 ? ["x", 2] : code < 0x10000 ? ["u", 4] : ["U", 8];
  return `\\${letter}${digits.padStart(width, "0")}`;
}

module.exports = { EnvctlError, errorOf };
