// For vitest's `setupFiles`: the worker's variables lead to a database of its own, as new for each test file.
import { useWorkerDatabase } from "./worker.cjs";

await useWorkerDatabase();
