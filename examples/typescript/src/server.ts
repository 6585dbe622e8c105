import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Pool } from "pg";
import { WebSocket, WebSocketServer } from "ws";
import type { Config } from "./config.ts";
import { News } from "./news.ts";
import { Orders } from "./orders.ts";
import { BadRequest, parseRequest, type Reply } from "./protocol.ts";

const MAX_MESSAGE_BYTES = 16 * 1024;

/** Orders over WebSocket on /ws; GET /healthz says whether Postgres and Redis answer. */
export class OrderServer {
  readonly #config: Config;
  readonly #pool: Pool;
  readonly #orders: Orders;
  readonly #news: News;
  readonly #http: Server;
  readonly #sockets: WebSocketServer;

  constructor(config: Config) {
    this.#config = config;
    this.#pool = new Pool({ connectionString: config.databaseUrl });
    this.#pool.on("error", (error) => console.error(`postgres: ${error.message}`)); // an idle connection broke
    this.#orders = new Orders(this.#pool);
    this.#news = new News(config.redisUrl);
    this.#http = createServer((request, response) => void this.#respond(request, response));
    this.#sockets = new WebSocketServer({ server: this.#http, path: "/ws", maxPayload: MAX_MESSAGE_BYTES });
    this.#sockets.on("connection", (socket) => this.#serve(socket));
  }

  /** Listens once everything it needs is there. */
  async start(): Promise<void> {
    await this.#orders.createTable();
    await this.#news.connect((order) => this.#broadcast({ type: "placed", order }));
    this.#http.listen(this.#config.port, "127.0.0.1");
    await once(this.#http, "listening");
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets.clients) {
      socket.close(1001, "the server ends");
    }
    this.#http.close();
    this.#http.closeAllConnections();
    this.#news.close();
    await this.#pool.end();
  }

  #serve(socket: WebSocket): void {
    socket.on("error", (error) => console.error(`websocket: ${error.message}`));
    socket.on("message", (data) => void this.#answer(socket, String(data)));
  }

  async #answer(socket: WebSocket, text: string): Promise<void> {
    try {
      const request = parseRequest(text);
      if (request.type === "list") {
        send(socket, { type: "orders", orders: await this.#orders.latest() });
      } else {
        await this.#news.publish(await this.#orders.place(request));
      }
    } catch (error) {
      if (!(error instanceof BadRequest)) {
        console.error(error);
      }
      send(socket, { type: "error", message: error instanceof BadRequest ? error.message : "internal error" });
    }
  }

  #broadcast(reply: Reply): void {
    for (const socket of this.#sockets.clients) {
      send(socket, reply);
    }
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const status = request.url === "/healthz" ? await this.#health() : 404;
    response.writeHead(status, { "content-type": "text/plain" }).end(`${status === 200 ? "ok" : "not ok"}\n`);
  }

  async #health(): Promise<200 | 503> {
    try {
      await Promise.all([this.#pool.query("SELECT 1"), this.#news.ping()]);
      return 200;
    } catch (error) {
      console.error(error);
      return 503;
    }
  }
}

function send(socket: WebSocket, reply: Reply): void {
  if (socket.readyState === WebSocket.OPEN) {
    socket.send(JSON.stringify(reply));
  }
}
