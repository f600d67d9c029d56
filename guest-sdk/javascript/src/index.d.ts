/** Text where the bytes are valid UTF-8, else bytes. */
export type Data = string | Uint8Array;

/** Anything that `JSON.stringify` writes. */
export type Json = unknown;

/** Which messages a handler takes. A list that is absent or empty means any. */
export interface Subscription {
  topics: Iterable<string>;
  /** Patterns by dot-separated segments: `*` is one segment, a last `**` is the rest. */
  eventTypes?: Iterable<string>;
  /** Patterns as in `eventTypes`. */
  sources?: Iterable<string>;
  /** Prefixes of segments: `1` takes `1.2.3`. */
  schemaVersions?: Iterable<string>;
  /** `text`, the default: a payload that is not UTF-8 is quarantined before the handler is called. */
  form?: "text" | "binary";
}

/** What the component exports. Its shape is the contract's; nothing of it is called by authors. */
export interface Handler {
  subscriptions(): object[];
  handle(message: object): unknown;
}

export interface HandlerDefinition {
  /** Asked for when the component is loaded, without grants; `[subscribe]` in the manifest overrides it. */
  subscriptions: Iterable<Subscription> | (() => Iterable<Subscription>);
  /**
   * Handles one delivery of a message, in a new instance unless the manifest says otherwise. Returning completes the
   * message, unless a {@link Stop} is returned or thrown. An uncaught error is a failure with its words as message
   * and its stack as detail. A promise is awaited on StarlingMonkey, and a failure on QuickJS.
   */
  handle(message: Message): void | Stop | Promise<void | Stop>;
}

/** Makes a handler: `export const handler = defineHandler({ … })`. */
export function defineHandler(definition: HandlerDefinition): Handler;

/** One delivery of a message. All but `attempt` and `delivery` is the same on every delivery. */
export class Message {
  private constructor();
  /** A UUID, stable across retries and replay: derive new ids from it, never from the clock or from chance. */
  readonly id: string;
  /** The producer's id, or the record's place in the log. */
  readonly messageId: string;
  readonly eventType: string;
  /** Logical sender: the `source` header, else the topic. */
  readonly source: string;
  readonly schemaVersion: string | null;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  /** Null: no order, and no keyed state. */
  readonly key: Data | null;
  /** Null is a tombstone; an empty payload is empty. */
  readonly payload: Data | null;
  readonly contentType: string | null;
  /** Names may repeat, values may be null; in order. */
  readonly headers: ReadonlyArray<readonly [name: string, value: Data | null]>;
  /** Milliseconds since 1970, from the Kafka record. */
  readonly producedAtMs: number;
  readonly correlationId: string | null;
  readonly causationId: string | null;
  readonly traceparent: string | null;
  /** From 1; raised by calls that count against the budget. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /** From 1. */
  readonly delivery: number;

  /**
   * Reads the payload as JSON. `parse` checks or converts it, such as `schema.parse` of a validator.
   * @throws {Stop} a rejection where there is no payload, it is not JSON, or `parse` throws.
   */
  json<T = any>(parse?: (value: unknown) => T): T;
  /**
   * The payload as text; null for a tombstone.
   * @throws {Stop} a rejection where it is not UTF-8.
   */
  text(): string | null;
  /** The payload as bytes; null for a tombstone. */
  bytes(): Uint8Array | null;
  /**
   * The key as text.
   * @throws {Stop} a rejection where it is not UTF-8.
   */
  keyText(): string | null;
  keyBytes(): Uint8Array | null;
  /** The value of the last header of this name; undefined where there is none. */
  header(name: string): Data | null | undefined;
  /** The values of all headers of this name, in order. */
  headersNamed(name: string): Array<Data | null>;
  /** A copy with this payload and schema version. */
  withJson(payload: Json, schemaVersion: string | null): Message;
}

/**
 * An end of a call other than "completed": its effects are dropped. It is thrown, so that code which catches errors of its own
 * has to let it pass.
 */
export class Stop extends Error {
  private constructor();
}

export interface RetryOptions {
  /** A delay instead of the handler's backoff. */
  afterMs?: number;
  /** Costs no attempt. The host bounds how long this can go on. */
  uncounted?: boolean;
}

/** Asks for the message again, later. @throws {Stop} always. */
export function retry(reason: string, options?: RetryOptions): never;
/** Completes the message without effects. @throws {Stop} always. */
export function skip(reason: string): never;
/** Makes the message a dead letter at once. @throws {Stop} always. */
export function reject(reason: string): never;

export interface FailOptions {
  /** A stable name by which dead letters are grouped, such as `out-of-stock`. */
  code?: string;
  /** More for whoever looks into it; the host cuts what is too long. */
  detail?: string;
}

/** Fails the call: it counts, and the message comes again until its attempts are used up. @throws {Stop} always. */
export function fail(message: string, options?: FailOptions): never;

type Headers<V> = Iterable<readonly [name: string, value: V]> | Readonly<Record<string, V>>;

export interface OutgoingFields {
  topic: string;
  eventType: string;
  /** Messages of one topic and key keep their order; without a key there is none. */
  key?: Data | null;
  /** Pairs, whose names may repeat, or an object. A value may be null. */
  headers?: Headers<Data | null>;
  contentType?: string | null;
  schemaVersion?: string | null;
  /** A key already used gives the first message's id and emits nothing. */
  idempotencyKey?: string | null;
  /** Milliseconds from the commit before it is published. */
  delayMs?: number | null;
}

/** A message to publish. Correlation, causation and trace are set by the host. */
export type Outgoing = OutgoingFields &
  ({ json: Json } | { text: string } | { bytes: Uint8Array | ArrayBuffer } | { tombstone: true });

/**
 * Publishes a message with the call's commit and returns its id, the same on every delivery of the message handled.
 * @throws {PublishError} where the host does not take it; nothing was emitted then, and the call may go on.
 * @throws {TypeError} where a field has the wrong type.
 */
export function publish(message: Outgoing): string;

export class PublishError extends Error {
  private constructor();
  readonly kind: "not-granted" | "too-large" | "too-many" | "invalid";
  readonly topic: string;
  /** Bytes of `too-large`, messages of `too-many`. */
  readonly limit?: number;
  /** What is wrong with a message that is `invalid`. */
  readonly reason?: string;
}

/** Small durable values by name. Writes commit with the call; all methods throw {@link StateError}. */
export interface State {
  /** The JSON value, or undefined where there is none. */
  get<T = any>(name: string): T | undefined;
  set(name: string, value: Json): void;
  getBytes(name: string): Uint8Array | undefined;
  setBytes(name: string, value: Uint8Array | ArrayBuffer): void;
  /** Removes a value. One that is not there is no error. */
  remove(name: string): void;
  /** Names that begin with a prefix, in byte order. */
  names(prefix?: string): Generator<string, void, undefined>;
}

export const state: {
  /** Belongs to this handler and the message's key. Calls of one key never race for it. */
  readonly keyed: State;
  /** Belongs to this handler. A call that loses a race is run again at no cost in attempts. */
  readonly shared: State;
};

export class StateError extends Error {
  private constructor();
  readonly kind: "not-granted" | "no-key" | "invalid-name" | "too-large" | "too-many" | "not-json";
  readonly stateName: string;
  /** Bytes of `too-large`, names of `too-many`. */
  readonly limit?: number;
  /** What is wrong with a name that is `invalid-name`. */
  readonly reason?: string;
}

/** A bigint stands for an integer that a number cannot hold; QuickJS has none of them. */
export type SqlValue = null | boolean | number | bigint | string | Uint8Array;

/** Forces a number to be sent as `double precision`: {@link sql}.float. */
export interface SqlFloat {
  readonly value: number;
}

export interface SqlTable {
  columns: string[];
  /** By name; of columns with one name the last counts. */
  rows: Array<Record<string, SqlValue>>;
  /** By position. */
  values: SqlValue[][];
}

/** SQL in the message's own transaction, as the role of `grants.sql`. */
export const sql: {
  /**
   * Runs a statement and returns its rows. Integral numbers are sent as `bigint`, others as `double precision`;
   * other types as text, cast in the statement (`$1::uuid`).
   * @throws {SqlError} and the call can no longer complete.
   * @throws {RangeError} on QuickJS where an integer is larger than `Number.MAX_SAFE_INTEGER`.
   */
  query(statement: string, params?: Iterable<SqlValue | SqlFloat | undefined>): SqlTable;
  /** Runs a statement and returns how many rows it wrote. Throws as `query`. */
  execute(statement: string, params?: Iterable<SqlValue | SqlFloat | undefined>): number;
  /** Sends a number as `double precision` even where it is integral. */
  float(value: number): SqlFloat;
};

export class SqlError extends Error {
  private constructor();
  /** Five characters, such as `23505`. */
  readonly sqlstate: string;
}

/** Values of `[handler-config]` that the manifest grants with `grants.config`. */
export const config: {
  /** @throws {ConfigError} where the manifest does not grant the key, or it has no value. */
  get(key: string): string;
  /** All that are granted. */
  all(): Map<string, string>;
};

export class ConfigError extends Error {
  private constructor();
}

type LogLine = (text: unknown, context?: string) => void;

/** Lines of the host's log, up to the level of `grants.log`; others are dropped. */
export const log: {
  trace: LogLine;
  debug: LogLine;
  info: LogLine;
  warn: LogLine;
  error: LogLine;
  critical: LogLine;
};

export interface RequestOptions {
  /** `POST` where there is a body, else `GET`. */
  method?: string;
  headers?: Headers<Data>;
  body?: Data | null;
  /** A body of JSON, with its content type. */
  json?: Json;
  /** From the sending to the last byte of the response; the call's deadline by default. */
  timeoutMs?: number;
  /** 8 MiB by default. */
  bodyBytesMax?: number;
}

export interface Response {
  /** Any; 404 and 500 too. */
  readonly status: number;
  /** True from 200 to 299. */
  readonly ok: boolean;
  readonly headers: ReadonlyArray<readonly [name: string, value: Uint8Array]>;
  readonly body: Uint8Array;
  /** The first header of this name, where it is text. */
  header(name: string): string | undefined;
  text(): string;
  /** @throws {SyntaxError} where the body is not JSON. */
  json<T = any>(): T;
}

/**
 * Requests to hosts of `grants.http`. A request is no part of the transaction: it has happened even where the call
 * does not complete. Redirects are not followed.
 */
export const http: {
  /** Sends a request and reads the whole response. @throws {HttpError} where there is none. */
  request(url: string, options?: RequestOptions): Response;
};

export class HttpError extends Error {
  private constructor();
  readonly kind: "invalid" | "denied" | "address-denied" | "timeout" | "too-large" | "failed";
  /** The host with its port, or the URL of a request that is `invalid`. */
  readonly target: string;
  /** Bytes of `too-large`. */
  readonly limit?: number;
  /** What WASI calls it, or what is wrong with the request. */
  readonly reason?: string;
}

export interface RouteFilter {
  /** A pattern, as of subscriptions. */
  source?: string;
  /** A prefix of segments. A message without a version is taken by any. */
  schemaVersion?: string;
}

/** Functions by event type, source and schema version; the first that matches is called. */
export class Dispatcher {
  on(eventType: string, handle: HandlerDefinition["handle"]): this;
  on(eventType: string, filter: RouteFilter, handle: HandlerDefinition["handle"]): this;
  /**
   * Changes JSON payloads of one schema version to the next. All steps are taken before a function is looked for, so
   * that it sees the newest version.
   */
  upcast(eventType: string, from: string, to: string, change: (payload: any) => Json): this;
  /** Calls the function of the first match; skips a message without one. */
  handle(message: Message): ReturnType<HandlerDefinition["handle"]>;
  /** A subscription to these topics with the event types of all functions. */
  subscriptions(topics: Iterable<string>, options?: { form?: "text" | "binary" }): Subscription[];
}
