// A request over `wasi:http`, from its parts to the last byte of its response.

import { subscribeDuration } from "wasi:clocks/monotonic-clock@0.2.12";
import { handle } from "wasi:http/outgoing-handler@0.2.12";
import { Fields, OutgoingBody, OutgoingRequest, httpErrorCode } from "wasi:http/types@0.2.12";
import { poll } from "wasi:io/poll@0.2.12";

const READ_BYTES_MAX = 64 << 10;
const METHODS = ["get", "head", "post", "put", "delete", "connect", "options", "trace", "patch"];
const LATE = ["connection-read-timeout", "connection-timeout", "HTTP-response-timeout"];

class Failed {
  constructor(error, rest) {
    Object.assign(this, { error, ...rest });
  }
}

export function exchange(request) {
  // A resource must outlive those that were made from it: the last is dropped first.
  const resources = [];
  const keep = (resource) => {
    resources.push(resource);
    return resource;
  };
  try {
    const timer = request.timeoutMs === undefined ? undefined : keep(subscribeDuration(nanoseconds(request.timeoutMs)));
    const outgoing = outgoingOf(request);
    const body = request.body.length > 0 ? outgoing.body() : undefined;
    const answer = keep(attempt(() => handle(outgoing, undefined)));
    if (body) send(body, request.body, timer);
    let got;
    while ((got = answer.get()) == null) wait(answer, timer);
    if (got.tag === "err") throw new Failed("failed", { reason: "its answer was taken before" });
    if (got.val.tag === "err") throw failed(got.val.val);
    return read(keep(got.val.val), request, timer, keep);
  } catch (error) {
    if (error instanceof Failed) return error;
    throw error;
  } finally {
    for (const resource of resources.reverse()) resource[Symbol.dispose]();
  }
}

function outgoingOf(request) {
  const invalid = (what, make) => {
    try {
      return make();
    } catch (error) {
      const { payload } = error ?? {};
      throw new Failed("invalid", { reason: payload?.tag ? `${what}: ${payload.tag}` : what });
    }
  };
  const fields = invalid("its headers are none", () => Fields.fromList(request.headers));
  const outgoing = new OutgoingRequest(fields);
  const method = request.method.toLowerCase();
  const known = METHODS.includes(method) && request.method === request.method.toUpperCase();
  invalid("its method is none", () =>
    outgoing.setMethod(known ? { tag: method } : { tag: "other", val: request.method }),
  );
  invalid("its scheme is none", () => outgoing.setScheme({ tag: request.scheme === "https" ? "HTTPS" : "HTTP" }));
  invalid("its host is none", () => outgoing.setAuthority(request.authority));
  invalid("its path is none", () => outgoing.setPathWithQuery(request.path));
  return outgoing;
}

// A server may answer before it has read all of the body: what it does not take is no error.
function send(body, bytes, timer) {
  const stream = body.write();
  try {
    for (let at = 0; at < bytes.length; ) {
      const room = Number(stream.checkWrite());
      if (room === 0) {
        wait(stream, timer);
      } else {
        stream.write(bytes.subarray(at, at + room));
        at += room;
      }
    }
  } catch (error) {
    if (error instanceof Failed) throw error;
    return;
  } finally {
    stream[Symbol.dispose]();
  }
  attempt(() => OutgoingBody.finish(body, undefined));
}

function read(response, request, timer, keep) {
  const status = response.status();
  const fields = response.headers();
  const headers = fields.entries();
  fields[Symbol.dispose]();
  const incoming = keep(response.consume());
  const stream = keep(incoming.stream());
  const chunks = [];
  let length = 0;
  for (;;) {
    let chunk;
    try {
      chunk = stream.read(host64(READ_BYTES_MAX));
    } catch (error) {
      const { tag, val } = error?.payload ?? {};
      if (tag === "closed") break;
      if (tag !== "last-operation-failed") throw error;
      const code = httpErrorCode(val);
      throw code == null ? new Failed("failed", { reason: "HTTP-response-incomplete" }) : failed(code);
    }
    if (chunk.length === 0) wait(stream, timer);
    chunks.push(chunk);
    length += chunk.length;
    if (length > request.bodyBytesMax) throw new Failed("too-large", { limit: request.bodyBytesMax });
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return { status, headers, body };
}

function wait(on, timer) {
  const ready = on.subscribe();
  try {
    if (!timer) {
      ready.block();
    } else {
      poll([ready, timer]);
      if (timer.ready() && !ready.ready()) throw new Failed("timeout");
    }
  } finally {
    ready[Symbol.dispose]();
  }
}

function attempt(call) {
  try {
    return call();
  } catch (error) {
    throw error?.payload?.tag ? failed(error.payload) : error;
  }
}

function failed({ tag, val }) {
  if (tag === "HTTP-request-denied") return new Failed("denied");
  if (tag === "destination-IP-prohibited") return new Failed("address-denied");
  if (LATE.includes(tag)) return new Failed("timeout");
  if (tag === "internal-error" && val != null) return new Failed("failed", { reason: val });
  return new Failed("failed", { reason: val == null ? tag : `${tag} ${JSON.stringify(val)}` });
}

// QuickJS takes 64 bits as a number, StarlingMonkey as a BigInt.
const host64 = (number) => ("__cqjs" in globalThis ? number : BigInt(number));

const nanoseconds = (ms) => host64(Math.min(ms * 1e6, Number.MAX_SAFE_INTEGER));
