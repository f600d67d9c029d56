import type { Data, Handler, Json } from "./index.js";

/** Fields of a message; all have defaults. A payload that is no text and no bytes is sent as JSON. */
export interface TestMessage {
  id?: string;
  messageId?: string;
  eventType?: string;
  source?: string;
  schemaVersion?: string | null;
  topic?: string;
  partition?: number;
  offset?: number;
  key?: Data | null;
  /** Null is a tombstone. */
  payload?: Data | Json;
  contentType?: string | null;
  headers?: Iterable<readonly [name: string, value: Data | null]>;
  producedAtMs?: number;
  correlationId?: string | null;
  causationId?: string | null;
  traceparent?: string | null;
  attempt?: number;
  maxAttempts?: number;
  delivery?: number;
}

export type TestOutcome =
  | { kind: "completed" }
  | { kind: "retry"; reason: string; afterMs: number | null; counts: boolean }
  | { kind: "skipped" | "rejected"; reason: string }
  | { kind: "failed"; message: string; code: string | null; detail: string | null };

export interface PublishedMessage {
  id: string;
  topic: string;
  eventType: string;
  key: Data | null;
  payload: Data | null;
  contentType: string | null;
  headers: Array<[name: string, value: Data | null]>;
  schemaVersion: string | null;
  idempotencyKey: string | null;
  delayMs: number | null;
  /** The payload, read as JSON. */
  json(): any;
}

export interface TestRequest {
  method: string;
  url: string;
  headers: Array<[name: string, value: Data]>;
  body: Uint8Array;
}

export interface TestHostOptions {
  /** State by key: `{ ada: { total_cents: 100 } }`. Bytes stay bytes, all else is JSON. */
  keyed?: Record<string, Record<string, Json>>;
  shared?: Record<string, Json>;
  /** Everything is granted unless it is said here. */
  grants?: { publish?: string[]; state?: boolean };
  config?: Record<string, string>;
  /** Answers `sql.query`. An error with a `sqlstate` reaches the handler as a SqlError. */
  query?(statement: string, params: unknown[]): { columns: string[]; values: unknown[][] };
  /** Answers `sql.execute`. */
  execute?(statement: string, params: unknown[]): number;
  /** Answers requests; without it they are denied. */
  http?(request: TestRequest): { status?: number; headers?: Array<[string, Data]>; body?: Data };
}

export interface TestCall {
  outcome: TestOutcome;
  /** Empty unless the call completed. */
  published: PublishedMessage[];
  log: Array<{ level: string; context: string; text: string }>;
  requests: TestRequest[];
}

/** A host in memory for tests on Node.js. It keeps state from call to call, as the host does. */
export class TestHost {
  constructor(options?: TestHostOptions);
  /** Calls a handler once. Its effects are kept where it completes. */
  invoke(handler: Handler, message?: TestMessage): Promise<TestCall>;
  /** The state of a key, read as JSON where it is. */
  keyed(key: string): Record<string, any>;
  shared(): Record<string, any>;
  /** True if a subscription of the handler takes the message. */
  takes(handler: Handler, message?: TestMessage): boolean;
}
