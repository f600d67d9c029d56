import { isVersion, matches } from "./pattern.js";
import { skip } from "./stop.js";

export class Dispatcher {
  #routes = [];
  #upcasts = [];

  on(eventType, ...rest) {
    const handle = rest.pop();
    const [{ source, schemaVersion } = {}] = rest;
    if (typeof handle !== "function") throw new TypeError(`the route of ${eventType} needs a function`);
    this.#routes.push({ eventType, source, schemaVersion, handle });
    return this;
  }

  upcast(eventType, from, to, change) {
    if (typeof change !== "function") throw new TypeError(`the upcast of ${eventType} needs a function`);
    if (isVersion(from, to)) throw new RangeError(`the upcast of ${eventType} from ${from} to ${to} would never end`);
    this.#upcasts.push({ eventType, from, to, change });
    return this;
  }

  handle(message) {
    const current = this.#newest(message);
    const route = this.#routes.find(
      ({ eventType, source, schemaVersion }) =>
        matches(eventType, current.eventType) &&
        (source === undefined || matches(source, current.source)) &&
        (schemaVersion === undefined ||
          current.schemaVersion === null ||
          isVersion(schemaVersion, current.schemaVersion)),
    );
    if (route) return route.handle(current);
    const version = current.schemaVersion === null ? "" : ` in version ${current.schemaVersion}`;
    skip(`no route for ${current.eventType} from ${current.source}${version}`);
  }

  subscriptions(topics, { form = "text" } = {}) {
    return [{ topics, eventTypes: [...new Set(this.#routes.map((route) => route.eventType))], form }];
  }

  #newest(message) {
    if (message.schemaVersion === null) return message;
    let version = message.schemaVersion;
    let payload;
    // Each version once: a chain that returned to one would never end.
    const seen = new Set();
    for (;;) {
      const step = this.#upcasts.find(({ eventType, from }) => matches(eventType, message.eventType) && isVersion(from, version));
      if (!step || seen.has(step)) break;
      seen.add(step);
      payload = step.change(seen.size === 1 ? message.json() : payload);
      version = step.to;
    }
    return seen.size === 0 ? message : message.withJson(payload, version);
  }
}
