/** What goes over the wire: JSON texts, each an object with a `type`. */

export interface NewOrder {
  readonly item: string;
  readonly quantity: number;
}

export interface Order extends NewOrder {
  readonly id: number;
  readonly placedAt: string;
}

export type Request = ({ readonly type: "place" } & NewOrder) | { readonly type: "list" };

export type Reply =
  | { readonly type: "placed"; readonly order: Order } // to every client of every server
  | { readonly type: "orders"; readonly orders: readonly Order[] }
  | { readonly type: "error"; readonly message: string };

/** A message that a client should not have sent. Its text is for the client. */
export class BadRequest extends Error {
  override readonly name = "BadRequest";
}

/** Checks what a client sent. */
export function parseRequest(text: string): Request {
  const message = parseObject(text);
  switch (message["type"]) {
    case "list":
      return { type: "list" };
    case "place":
      return { type: "place", item: itemOf(message["item"]), quantity: quantityOf(message["quantity"]) };
    default:
      throw new BadRequest("type must be place or list");
  }
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BadRequest("not JSON");
  }
  if (typeof value !== "object" || value === null) {
    throw new BadRequest("not an object");
  }
  return value as Record<string, unknown>;
}

function itemOf(value: unknown): string {
  if (typeof value !== "string" || value.length === 0 || value.length > 100) {
    throw new BadRequest("item must be a text of 1 to 100 characters");
  }
  return value;
}

function quantityOf(value: unknown): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > 1000) {
    throw new BadRequest("quantity must be a whole number from 1 to 1000");
  }
  return value;
}
