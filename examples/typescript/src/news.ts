import { createClient } from "redis";
import type { Order } from "./protocol.ts";

export const CHANNEL = "orders:placed";

/** Tells all servers, this one too, of each order, by Redis. */
export class News {
  readonly #publisher;
  readonly #subscriber;

  constructor(url: string) {
    this.#publisher = createClient({ url });
    this.#subscriber = this.#publisher.duplicate(); // a connection that subscribes can do nothing else
    for (const client of [this.#publisher, this.#subscriber]) {
      client.on("error", (error: Error) => console.error(`redis: ${error.message}`)); // it connects again by itself
    }
  }

  async connect(onPlaced: (order: Order) => void): Promise<void> {
    await Promise.all([this.#publisher.connect(), this.#subscriber.connect()]);
    await this.#subscriber.subscribe(CHANNEL, (text) => onPlaced(JSON.parse(text) as Order));
  }

  async publish(order: Order): Promise<void> {
    await this.#publisher.publish(CHANNEL, JSON.stringify(order));
  }

  async ping(): Promise<void> {
    await this.#publisher.ping();
  }

  close(): void {
    this.#publisher.destroy();
    this.#subscriber.destroy();
  }
}
