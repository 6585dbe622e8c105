import { on, once } from "node:events";
import { WebSocket } from "ws";
import type { Told } from "./scheduler.ts";

type Message = { readonly type: string; readonly data: Told; readonly message?: string };

const LIMIT_MS = 5000;

/** A channel of the WebSocket server, over a connection to it. */
export class Channel {
  readonly #socket: WebSocket;
  readonly #name: string;
  readonly #messages: AsyncIterator<[data: Buffer]>;

  private constructor(socket: WebSocket, name: string) {
    this.#socket = socket;
    this.#name = name;
    const messages = on(socket, "message", { signal: AbortSignal.timeout(LIMIT_MS) }); // keeps what comes early
    this.#messages = messages as AsyncIterableIterator<[data: Buffer]>;
  }

  static async connect(url: string, name: string): Promise<Channel> {
    const socket = new WebSocket(url);
    const channel = new Channel(socket, name);
    await once(socket, "open");
    return channel;
  }

  /** Hears what is told from now on. */
  async listen(): Promise<void> {
    await this.#ask({ type: "subscribe", channel: this.#name }, "subscribed");
  }

  /** Tells all who listen. */
  async tell(message: Told): Promise<void> {
    await this.#ask({ type: "publish", channel: this.#name, data: message }, "published");
  }

  /** What is told next. */
  async next(): Promise<Told> {
    return (await this.#read("message")).data;
  }

  close(): void {
    this.#socket.close();
  }

  async #ask(request: object, answer: string): Promise<void> {
    this.#socket.send(JSON.stringify(request));
    await this.#read(answer);
  }

  async #read(type: string): Promise<Message> {
    for (;;) {
      const { value } = await this.#messages.next();
      const message = JSON.parse(String(value[0])) as Message;
      if (message.type === "error") {
        throw new Error(message.message);
      }
      if (message.type === type) {
        return message;
      }
    }
  }
}
