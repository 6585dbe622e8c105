import type { Options } from "./index.js";

type GlobalSetup = (globalConfig: { readonly rootDir: string }) => Promise<void>;

/** A `globalSetup` with options; without any, the default export is one already. Goes with `envctl/jest-teardown`. */
export function globalSetup(options?: Options): GlobalSetup;

declare const setup: GlobalSetup;
export default setup;
