import * as host from "#imports";

const at = (level) => (text, context = "") =>
  host.log(level, String(context).toWellFormed(), String(text).toWellFormed());

export const log = Object.freeze({
  trace: at("trace"),
  debug: at("debug"),
  info: at("info"),
  warn: at("warn"),
  error: at("error"),
  critical: at("critical"),
});
