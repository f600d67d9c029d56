import { bytesOf, fromData, textOf } from "./data.js";
import { reject } from "./stop.js";

export class Message {
  constructor(wire) {
    this.id = wire.id;
    this.messageId = wire.messageId;
    this.eventType = wire.eventType;
    this.source = wire.source;
    this.schemaVersion = wire.schemaVersion ?? null;
    this.topic = wire.position.topic;
    this.partition = wire.position.partition;
    this.offset = Number(wire.position.offset);
    this.key = fromData(wire.key);
    this.payload = fromData(wire.payload);
    this.contentType = wire.contentType ?? null;
    this.headers = wire.headers.map(({ name, value }) => [name, fromData(value)]);
    this.producedAtMs = Number(wire.producedAtMs);
    this.correlationId = wire.correlationId ?? null;
    this.causationId = wire.causationId ?? null;
    this.traceparent = wire.traceparent ?? null;
    this.attempt = wire.attempt;
    this.maxAttempts = wire.maxAttempts;
    this.delivery = wire.delivery;
  }

  json(parse = (value) => value) {
    if (this.payload === null) throw reject(`message \`${this.messageId}\` has no payload`);
    try {
      return parse(JSON.parse(this.text()));
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      throw reject(`the payload of message \`${this.messageId}\` is not the JSON that this handler expects: ${words}`);
    }
  }

  text() {
    if (this.payload === null) return null;
    const text = textOf(this.payload);
    if (text === undefined) throw reject(`the payload of message \`${this.messageId}\` is not UTF-8`);
    return text;
  }

  bytes() {
    return this.payload === null ? null : bytesOf(this.payload);
  }

  keyText() {
    if (this.key === null) return null;
    const text = textOf(this.key);
    if (text === undefined) throw reject(`the key of message \`${this.messageId}\` is not UTF-8`);
    return text;
  }

  keyBytes() {
    return this.key === null ? null : bytesOf(this.key);
  }

  header(name) {
    return this.headers.findLast(([header]) => header === name)?.[1];
  }

  headersNamed(name) {
    return this.headers.filter(([header]) => header === name).map(([, value]) => value);
  }

  withJson(value, schemaVersion) {
    const message = Object.assign(Object.create(Message.prototype), this);
    message.payload = JSON.stringify(value);
    message.schemaVersion = schemaVersion;
    return message;
  }
}
