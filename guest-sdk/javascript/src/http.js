import * as host from "#imports";
import { bytesOf, textOf, toBytes, toJson, toMilliseconds, toText } from "./data.js";

const BODY_BYTES_MAX = 8 << 20;
const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

export class HttpError extends Error {
  constructor(kind, target, { limit, reason } = {}) {
    super(words(kind, target, limit, reason));
    this.name = "HttpError";
    this.kind = kind;
    this.target = target;
    this.limit = limit;
    this.reason = reason;
  }
}

class Response {
  constructor(status, headers, body) {
    this.status = status;
    this.headers = headers;
    this.body = body;
  }

  get ok() {
    return this.status >= 200 && this.status < 300;
  }

  header(name) {
    const wanted = name.toLowerCase();
    const value = this.headers.find(([header]) => header.toLowerCase() === wanted)?.[1];
    return value && textOf(value);
  }

  text() {
    return new TextDecoder().decode(this.body);
  }

  json() {
    return JSON.parse(this.text());
  }
}

function request(url, { method, headers = [], body, json, timeoutMs, bodyBytesMax = BODY_BYTES_MAX } = {}) {
  const target = targetOf(toText(url, "the URL"));
  const pairs = (Symbol.iterator in headers ? [...headers] : Object.entries(headers)).map(([name, value]) => [
    toText(name, "a header's name"),
    typeof value === "string" ? bytesOf(value.toWellFormed()) : toBytes(value, `the header ${name}`),
  ]);
  let bytes = new Uint8Array();
  if (json !== undefined) {
    bytes = bytesOf(toJson(json, "the body"));
    pairs.push(["content-type", bytesOf("application/json")]);
  } else if (body != null) {
    bytes = typeof body === "string" ? bytesOf(body.toWellFormed()) : toBytes(body, "the body");
  }
  // Without it the body would come in chunks, which not every server takes.
  if (bytes.length > 0) pairs.push(["content-length", bytesOf(String(bytes.length))]);
  const name = toText(method ?? (bytes.length > 0 ? "POST" : "GET"), "the method");
  if (!METHOD.test(name)) throw new HttpError("invalid", url, { reason: "its method is none" });

  const answer = host.exchange({
    ...target,
    url,
    method: name,
    headers: pairs,
    body: bytes,
    timeoutMs: toMilliseconds(timeoutMs, "timeoutMs"),
    bodyBytesMax,
  });
  if (answer.error) throw new HttpError(answer.error, answer.error === "invalid" ? url : target.authority, answer);
  return new Response(answer.status, answer.headers, answer.body);
}

export const http = Object.freeze({ request });

function targetOf(url) {
  const found = /^(https?):\/\/([^/?#]+)([^#]*)/.exec(url);
  if (!found) throw new HttpError("invalid", url, { reason: "it is no http or https URL" });
  const [, scheme, authority, rest] = found;
  return { scheme, authority, path: rest.startsWith("/") ? rest : `/${rest}` };
}

function words(kind, target, limit, reason) {
  switch (kind) {
    case "invalid":
      return `the request to \`${target}\` cannot be sent: ${reason}`;
    case "denied":
      return `this handler may not send requests to \`${target}\`: add it to \`http\` under \`[grants]\` in its manifest`;
    case "address-denied":
      return `\`${target}\` has an address that is not public: the operator may allow it in \`http.addresses\``;
    case "timeout":
      return `\`${target}\` did not answer in time`;
    case "too-large":
      return `the response of \`${target}\` has more than ${limit} bytes`;
    default:
      return `the request to \`${target}\` failed: ${reason}`;
  }
}
