"""What docs/javascript.md says, done: with vitest, Jest and plain Node.js, where there is no Docker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import typescript_example
from harness import Project, eventually
from typescript_example import ROOT, packages, shell

pytestmark = typescript_example.NEEDS

_FILE = re.compile(r"<!-- file: (?P<name>\S+) -->\n```\w+\n(?P<text>.*?)```", re.DOTALL)
_TYPES = """{
  "compilerOptions": {
    "target": "ES2023", "module": "NodeNext", "types": ["node"], "noEmit": true, "strict": true,
    "allowImportingTsExtensions": true, "exactOptionalPropertyTypes": true, "noPropertyAccessFromIndexSignature": true,
    "noUncheckedIndexedAccess": true
  },
  "include": ["**/*.ts"]
}"""


@cache
def jest() -> Path:
    """The program of Jest, installed once per process of the tests."""
    folder = packages().parents[2] / "jest"
    folder.mkdir()
    (folder / "package.json").write_text('{"private": true}')
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline", "--silent", "jest@30"]
    subprocess.run(command, cwd=folder, check=True, timeout=150)
    return folder / "node_modules" / ".bin" / "jest"


@pytest.fixture
def project(project: Project) -> Project:
    """A repository with all files of the page."""
    for found in _FILE.finditer((ROOT / "docs" / "javascript.md").read_text("utf-8")):
        project.write(found["name"], found["text"])
    project.write("package.json", '{"private": true, "type": "module"}')
    project.write("tsconfig.json", _TYPES)
    (project.root / "node_modules").symlink_to(packages())
    project.allow_files("node_modules")
    project.environ["TMPDIR"] = str(packages().parent)
    return project


def test_the_types_are_right(project: Project) -> None:
    """TypeScript accepts what the page does with the package, and refuses what is not there."""
    wrong = ('up({ brunch: "main" })', 'up({ engine: "docker" })', "(await up()).postgress")
    lines = [f"// @ts-expect-error {one} is wrong\nawait {one};\n" for one in wrong]
    project.write("wrong.ts", 'import { up } from "envctl";\n' + "".join(lines))
    shell(project, "npx tsc")


def test_vitest(project: Project) -> None:
    """A run with the set-up has the services, the variables and what `provide` gives, and leaves nothing."""
    assert re.search(r"Tests +1 passed", shell(project, "npx vitest run test/orders.test.ts --pool threads"))
    project.assert_nothing_left()


def test_each_worker_of_vitest_has_a_database_of_its_own(project: Project) -> None:
    """Two files at once find what was made for all, and each test what its file began with."""
    same = (project.root / "test/workers/orders.test.ts").read_text()
    project.write("test/workers/same.test.ts", same)
    project.up()
    out = shell(project, "npx vitest run --config vitest.workers.config.ts")
    assert re.search(r"Tests +6 passed", out), out
    query = "SELECT datname FROM pg_database WHERE datname LIKE 'worker%'"
    left = project.run("psql", "-Atc", query, check=True).out.split()
    project.run("db", "create", "next", check=True)
    assert left
    assert project.run("psql", "-Atc", query, check=True).out == "", "what ended runs have left goes with the next one"


def test_each_worker_of_vitest_has_keys_of_its_own(project: Project) -> None:
    """Two files at once find the seeded keys in databases of Redis of their own, as new before each test."""
    project.write("keys.json", '{"greeting": "hello"}')
    project.config("services: {redis: {seed: keys.json}}")
    source = """import { execFileSync } from "node:child_process";
        import { workerRedis } from "envctl/worker";
        import { beforeEach, expect, test } from "vitest";
        const own = await workerRedis();
        const redis = (...words: string[]) =>
          execFileSync("envctl", ["redis-cli", "-n", own.database, ...words], { encoding: "utf8" }).trim();
        beforeEach(() => own.reset());
        test.each([1, 2])("test %i finds what was seeded", (number) => {
          expect(process.env["REDIS_URL"]).toBe(own.url);
          expect(redis("keys", "*")).toBe("greeting");
          redis("set", "left", String(number));
        });
        """
    for name in ("one", "two"):
        project.write(f"test/workers/{name}.test.ts", source)
    (project.root / "test/workers/orders.test.ts").unlink()
    config = (project.root / "vitest.workers.config.ts").read_text()
    project.write("vitest.workers.config.ts", config.replace(', "./test/schema.ts"', ""))
    out = shell(project, "npx vitest run --config vitest.workers.config.ts")
    assert re.search(r"Tests +4 passed", out), out
    project.assert_nothing_left()


def test_an_environment_that_is_up_is_used_and_left(project: Project) -> None:
    """Within `envctl run` there is the run's environment alone, and one that was up before stays as it was."""
    project.write(
        "test/same.test.ts",
        """import { expect, test } from "vitest";
        test("the environment around is the one", () => expect(process.env["ENVCTL_ENV"]).toBe(process.env["AROUND"]));
        """,
    )
    vitest = "npx vitest run test/same.test.ts"
    shell(project, f"envctl run --name beside -- sh -c 'AROUND=$ENVCTL_ENV {vitest}'")
    project.assert_nothing_left()
    name = project.up()["environment"]
    before = project.instances()
    shell(project, f"AROUND={name} {vitest}")
    assert project.instances() == before


def test_jest(project: Project) -> None:
    """Jest's set-up and teardown bring up and remove; its workers have databases of their own."""
    shell(project, str(jest()))
    project.assert_nothing_left()
    config = (project.root / "jest.config.cjs").read_text()
    project.write("jest.config.cjs", config.replace("testMatch", 'setupFiles: ["envctl/jest-worker"], testMatch'))
    project.write(
        "test/orders.spec.cjs",
        """const { workerDatabase, workerRedis } = require("envctl/worker");
        test("its own, and as new", async () => {
          expect(process.env.REDIS_URL).toBe((await workerRedis()).url);
          const own = await workerDatabase();
          expect(process.env.DATABASE_URL).toBe(own.url);
          expect(own.database).toMatch(/^worker1_/);
          await own.reset();
        });
        """,
    )
    shell(project, str(jest()))
    project.assert_nothing_left()


def test_environments_in_code(project: Project) -> None:
    """`up` gives what it says, `close` ends that use and no other, and what is not closed goes with the process."""
    out = shell(project, "npx tsx look.ts")
    assert re.fullmatch(r"\[ \{ name: 'app' \} \]\n2\d{4} /ws ws://127\.0\.0\.1:2\d{4}/ws\?token=\w+\n", out), out
    project.assert_nothing_left()
    assert shell(project, "npx tsx data.ts") == "redis flush\n"
    project.assert_nothing_left()
    project.config("services: {redis: {}}")
    project.write(
        "two.ts",
        """import { execFileSync } from "node:child_process";
        import { up } from "envctl";
        const [one, two, again] = [await up({ name: "one" }), await up({ name: "two" }), await up({ name: "two" })];
        const names = () => JSON.parse(execFileSync("envctl", ["ls", "--format", "json"], { encoding: "utf8" }))
          .environments.map((found: { environment: string }) => found.environment);
        const steps = [names()];
        for (const environment of [again, one]) {
          await environment.close();
          steps.push(names());
        }
        console.log(JSON.stringify([[one.name, two.name], ...steps]));
        """,
    )
    names, *steps = json.loads(shell(project, "npx tsx two.ts"))
    assert [sorted(step) for step in steps] == [sorted(names), sorted(names), [names[1]]]
    project.assert_nothing_left()


def test_an_interrupt_while_services_start(project: Project) -> None:
    """Whoever interrupts Vitest while its set-up brings up has nothing left when vitest has ended."""
    project.config("services: {redis: {}, never: {process: sleep 600, port: 3000}}")
    project.environ["ENVCTL_COMMAND"] = f"{sys.executable} -m envctl"
    vitest = subprocess.Popen(
        ["node", "node_modules/vitest/vitest.mjs", "run", "test/orders.test.ts"],
        cwd=project.root,
        env=project.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert eventually(lambda: "never" in project.first_processes(), limit_s=30)
        os.kill(vitest.pid, signal.SIGINT)
        vitest.wait(timeout=60)
    finally:
        vitest.kill()
    assert vitest.returncode == 128 + signal.SIGINT
    assert project.processes() == {}
    project.assert_nothing_left()
