import * as host from "#imports";
import { toText } from "./data.js";

export class ConfigError extends Error {
  constructor(message) {
    super(message);
    this.name = "ConfigError";
  }
}

function get(key) {
  const text = toText(key, "a configuration key");
  const value = ask(() => host.configGet(text));
  if (value == null) throw new ConfigError(`the configuration key ${text} has no value`);
  return value;
}

const all = () => new Map(ask(() => host.configGetAll()));

export const config = Object.freeze({ get, all });

function ask(question) {
  try {
    return question();
  } catch (error) {
    if (typeof error?.payload?.val !== "string") throw error;
    throw new ConfigError(error.payload.val);
  }
}
