// For vitest's `setupFiles`: the worker's variables lead to databases of its own, as new for each test file.
import { useWorkerData } from "./worker.cjs";

await useWorkerData();
