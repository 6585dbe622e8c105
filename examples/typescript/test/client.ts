import { on, once } from "node:events";
import { onTestFinished } from "vitest";
import { WebSocket } from "ws";
import type { Reply } from "../src/protocol.ts";
import { variable } from "./variable.ts";

type ReplyOf<Type extends Reply["type"]> = Extract<Reply, { type: Type }>;

const LIMIT_MS = 5000;

/** A client of the server that runs in the environment. */
export class Client {
  readonly #socket: WebSocket;
  readonly #messages: AsyncIterator<[data: Buffer]>;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    const messages = on(socket, "message", { signal: AbortSignal.timeout(LIMIT_MS) }); // keeps what comes early
    this.#messages = messages as AsyncIterableIterator<[data: Buffer]>;
  }

  /** Connects, and closes the connection when the test is over. */
  static async connect(): Promise<Client> {
    const socket = new WebSocket(variable("WS_URL"));
    onTestFinished(() => socket.close());
    const client = new Client(socket);
    await once(socket, "open");
    return client;
  }

  send(message: unknown): void {
    this.#socket.send(JSON.stringify(message));
  }

  /** The next reply of this type for which `matches` holds. Others are passed over: tests run side by side. */
  async next<Type extends Reply["type"]>(
    type: Type,
    matches: (reply: ReplyOf<Type>) => boolean = () => true,
  ): Promise<ReplyOf<Type>> {
    for (;;) {
      const { value } = await this.#messages.next();
      const reply = JSON.parse(String(value[0])) as Reply;
      if (reply.type === type && matches(reply as ReplyOf<Type>)) {
        return reply as ReplyOf<Type>;
      }
    }
  }
}
