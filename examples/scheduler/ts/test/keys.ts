import type { RedisClientType } from "redis";

const OF_A_WORKER = /^worker\d+:/;

/** A worker's own keys in Redis: copies of what was seeded, behind a prefix. */
export class Keys {
  readonly store: RedisClientType;
  readonly prefix: string;

  constructor(store: RedisClientType, worker: string) {
    this.store = store;
    this.prefix = `worker${worker}:`;
  }

  name(key: string): string {
    return this.prefix + key;
  }

  /** What there is, without the prefix. */
  async names(): Promise<string[]> {
    return (await this.store.keys(`${this.prefix}*`)).map((key) => key.slice(this.prefix.length)).sort();
  }

  /** As it was seeded, with what time is left to each key. */
  async reset(): Promise<void> {
    await this.clear();
    const seeded = (await this.store.keys("*")).filter((key) => !OF_A_WORKER.test(key));
    await Promise.all(seeded.map((key) => this.store.copy(key, this.name(key))));
  }

  async clear(): Promise<void> {
    const names = await this.store.keys(`${this.prefix}*`);
    if (names.length > 0) {
      await this.store.del(names);
    }
  }
}
