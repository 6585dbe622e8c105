import type { Environment, Options } from "./index.js";

/** What `inject("envctl")` gives, in tests that cannot read process.env. */
export type Provided = Pick<Environment, "services" | "variables">;

type GlobalSetup = (project: {
  readonly config?: { readonly root: string };
  provide(key: never, value: never): void;
}) => Promise<() => Promise<void>>;

/** A `globalSetup` with options; without any, the default export is one already. */
export function globalSetup(options?: Options): GlobalSetup;

declare const setup: GlobalSetup;
export default setup;
