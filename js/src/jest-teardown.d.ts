/** The `globalTeardown` that belongs to `envctl/jest`. */
declare const teardown: () => Promise<void>;
export default teardown;
