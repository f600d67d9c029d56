import { awaitsPromises } from "#imports";
import { toText } from "./data.js";
import { Message } from "./message.js";
import { component } from "./running.js";
import { Stop, failureOf } from "./stop.js";

export function defineHandler({ subscriptions, handle }) {
  if (typeof handle !== "function") throw new TypeError("a handler needs a function handle");
  const list = () => (typeof subscriptions === "function" ? subscriptions() : subscriptions);
  return {
    subscriptions: () => Array.from(list(), toSubscription),

    handle(wire) {
      component.isRunning = true;
      let answer;
      try {
        answer = handle(new Message(wire));
        if (typeof answer?.then === "function") {
          if (awaitsPromises) return answer.then(ended, (error) => ended(stopOf(error)));
          throw new TypeError("handle returned a promise, which QuickJS cannot await: build with --engine starlingmonkey");
        }
      } catch (error) {
        answer = stopOf(error);
      }
      return ended(answer);
    },
  };
}

const stopOf = (error) => (error instanceof Stop ? error : failureOf(error));

const ended = (answer) => (answer instanceof Stop ? answer.answer() : { tag: "completed" });

function toSubscription({ topics, eventTypes = [], sources = [], schemaVersions = [], form = "text" }) {
  const texts = (list, what) => Array.from(list, (item) => toText(item, what));
  if (form !== "text" && form !== "binary") throw new TypeError(`a subscription's form is text or binary, not ${form}`);
  return {
    topics: texts(topics, "a topic"),
    eventTypes: texts(eventTypes, "an event type"),
    sources: texts(sources, "a source"),
    schemaVersions: texts(schemaVersions, "a schema version"),
    form,
  };
}
