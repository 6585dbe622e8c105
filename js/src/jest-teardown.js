// What is to be done at the end: kept where other copies of this module find it, since Jest loads each file by itself.
export const leaving = (globalThis[Symbol.for("envctl.jest")] ??= []);

/** The `globalTeardown` that belongs to the `globalSetup` of `envctl/jest`. */
export default async function globalTeardown() {
  for (const leave of leaving.splice(0).reverse()) {
    await leave();
  }
}
