import * as host from "#imports";
import { toBytes, toData, toJson, toMilliseconds, toOptionalData, toOptionalText, toText } from "./data.js";

export class PublishError extends Error {
  constructor(kind, topic, { limit, reason } = {}) {
    super(words(kind, topic, limit, reason));
    this.name = "PublishError";
    this.kind = kind;
    this.topic = topic;
    this.limit = limit;
    this.reason = reason;
  }
}

export function publish(outgoing) {
  const message = {
    topic: toText(outgoing.topic, "the topic"),
    eventType: toText(outgoing.eventType, "the event type"),
    key: toOptionalData(outgoing.key, "the key"),
    payload: payloadOf(outgoing),
    contentType: toOptionalText(outgoing.contentType, "the content type"),
    headers: headersOf(outgoing.headers ?? []),
    schemaVersion: toOptionalText(outgoing.schemaVersion, "the schema version"),
    idempotencyKey: toOptionalText(outgoing.idempotencyKey, "the idempotency key"),
    delayMs: toMilliseconds(outgoing.delayMs, "delayMs"),
  };
  if ("json" in outgoing) message.contentType ??= "application/json";
  try {
    return host.publish(message);
  } catch (error) {
    throw publishError(error, message.topic);
  }
}

function payloadOf(outgoing) {
  const kinds = ["json", "text", "bytes", "tombstone"].filter((kind) => kind in outgoing);
  if (kinds.length !== 1) {
    throw new TypeError("a message to publish has one of json, text, bytes and tombstone");
  }
  switch (kinds[0]) {
    case "json":
      return { tag: "text", val: toJson(outgoing.json, "the payload") };
    case "text":
      return { tag: "text", val: toText(outgoing.text, "the payload") };
    case "bytes":
      return { tag: "binary", val: toBytes(outgoing.bytes, "the payload") };
    default:
      if (outgoing.tombstone !== true) throw new TypeError("tombstone must be true where it is given");
      return undefined;
  }
}

function headersOf(headers) {
  const pairs = Symbol.iterator in headers ? [...headers] : Object.entries(headers);
  return pairs.map(([name, value]) => ({
    name: toText(name, "a header's name"),
    value: value === null ? undefined : toData(value, `the header ${name}`),
  }));
}

function publishError(error, topic) {
  const { tag, val } = error?.payload ?? {};
  switch (tag) {
    case "not-granted":
      return new PublishError(tag, topic);
    case "too-large":
    case "too-many":
      return new PublishError(tag, topic, { limit: Number(val) });
    case "invalid":
      return new PublishError(tag, topic, { reason: val });
    default:
      return error;
  }
}

function words(kind, topic, limit, reason) {
  switch (kind) {
    case "not-granted":
      return `this handler may not publish to \`${topic}\`: add it to \`publish\` under \`[grants]\` in its manifest`;
    case "too-large":
      return `the message for \`${topic}\` is larger than the ${limit} bytes that are allowed`;
    case "too-many":
      return `the message for \`${topic}\` is one more than the ${limit} that a call may emit`;
    default:
      return `the message for \`${topic}\` cannot be published: ${reason}`;
  }
}
