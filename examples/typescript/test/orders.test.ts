import { randomUUID } from "node:crypto";
import { Client as Database } from "pg";
import { createClient } from "redis";
import { describe, expect, onTestFinished, test } from "vitest";
import { CHANNEL } from "../src/news.ts";
import type { Order } from "../src/protocol.ts";
import { Client } from "./client.ts";
import { variable } from "./variable.ts";

// Each test orders an item of its own, so that none sees what another one does, or what an earlier run left.
const newItem = (): string => `espresso ${randomUUID()}`;

async function rowsOf(item: string): Promise<Pick<Order, "id" | "quantity">[]> {
  const database = new Database({ connectionString: variable("DATABASE_URL") });
  await database.connect();
  onTestFinished(() => database.end());
  const { rows } = await database.query("SELECT id, quantity FROM orders WHERE item = $1", [item]);
  return rows;
}

test("an order is kept, and every client is told", async () => {
  const item = newItem();
  const [buyer, kitchen] = await Promise.all([Client.connect(), Client.connect()]);

  buyer.send({ type: "place", item, quantity: 2 });

  const { order } = await kitchen.next("placed", (reply) => reply.order.item === item);
  expect(order).toMatchObject({ item, quantity: 2 });
  expect(await buyer.next("placed", (reply) => reply.order.item === item)).toEqual({ type: "placed", order });
  expect(await rowsOf(item)).toEqual([{ id: order.id, quantity: 2 }]);
});

test("an order that another server took is told here, too", async () => {
  const client = await Client.connect();
  const redis = createClient({ url: variable("REDIS_URL") });
  await redis.connect();
  onTestFinished(() => redis.destroy());
  const order: Order = { id: 0, item: newItem(), quantity: 1, placedAt: new Date().toISOString() };

  await redis.publish(CHANNEL, JSON.stringify(order));

  expect(await client.next("placed", (reply) => reply.order.item === order.item)).toEqual({ type: "placed", order });
});

test("the newest orders are listed first", async () => {
  const client = await Client.connect();
  for (const item of [newItem(), newItem()]) {
    client.send({ type: "place", item, quantity: 1 });
    const { order } = await client.next("placed", (reply) => reply.order.item === item);

    client.send({ type: "list" });

    expect((await client.next("orders")).orders[0]).toEqual(order);
  }
});

describe("what is refused", () => {
  test.each([
    ["no object", [], "type must be place or list"],
    ["an unknown type", { type: "cancel" }, "type must be place or list"],
    ["no item", { type: "place", quantity: 1 }, "item must be a text of 1 to 100 characters"],
    [
      "half a cup",
      { type: "place", item: "espresso", quantity: 0.5 },
      "quantity must be a whole number from 1 to 1000",
    ],
  ])("%s", async (_, message, complaint) => {
    const client = await Client.connect();

    client.send(message);

    expect(await client.next("error")).toEqual({ type: "error", message: complaint });
  });

  test("an order that is refused is not kept", async () => {
    const client = await Client.connect();
    const item = newItem();

    client.send({ type: "place", item, quantity: -1 });
    await client.next("error");

    expect(await rowsOf(item)).toEqual([]);
  });
});

test("the server says that its database and Redis answer", async () => {
  const response = await fetch(`${variable("API_HTTP_URL")}/healthz`);

  expect(response.status).toBe(200);
});
