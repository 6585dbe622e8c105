import type { Pool } from "pg";
import type { NewOrder, Order } from "./protocol.ts";

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS orders (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    item text NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    placed_at timestamptz NOT NULL DEFAULT now()
  )`;

const COLUMNS = "id, item, quantity, placed_at";

interface Row {
  readonly id: number;
  readonly item: string;
  readonly quantity: number;
  readonly placed_at: Date;
}

/** The orders, kept in Postgres. */
export class Orders {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  async createTable(): Promise<void> {
    await this.#pool.query(SCHEMA);
  }

  async place({ item, quantity }: NewOrder): Promise<Order> {
    const insert = `INSERT INTO orders (item, quantity) VALUES ($1, $2) RETURNING ${COLUMNS}`;
    const { rows } = await this.#pool.query<Row>(insert, [item, quantity]);
    const [row] = rows;
    if (!row) {
      throw new Error("INSERT returned no row");
    }
    return orderOf(row);
  }

  /** The latest orders, the newest first. */
  async latest(limit = 20): Promise<Order[]> {
    const { rows } = await this.#pool.query<Row>(`SELECT ${COLUMNS} FROM orders ORDER BY id DESC LIMIT $1`, [limit]);
    return rows.map(orderOf);
  }
}

function orderOf(row: Row): Order {
  return { id: row.id, item: row.item, quantity: row.quantity, placedAt: row.placed_at.toISOString() };
}
