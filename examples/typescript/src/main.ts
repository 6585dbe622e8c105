import { readConfig } from "./config.ts";
import { OrderServer } from "./server.ts";

const config = readConfig(process.env);
const server = new OrderServer(config);

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => void server.stop());
}

await server.start();
console.log(`listening on 127.0.0.1:${config.port}`);
