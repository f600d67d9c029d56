// What the host gives, on Node.js: all of it is asked of the test host whose call is running.

let current;

/** Makes `host` answer for the time of `call`. */
export async function during(host, call) {
  if (current) throw new Error("one test host's call is running: await it before the next");
  current = host;
  try {
    return await call();
  } finally {
    current = undefined;
  }
}

const ask = (name) => (...values) => {
  if (!current) throw new Error(`${name} was called outside of a handler's call: use TestHost of mailroom-guest/testing`);
  return current[name](...values);
};

export const publish = ask("publish");
export const stateGet = ask("stateGet");
export const stateSet = ask("stateSet");
export const stateRemove = ask("stateRemove");
export const stateNames = ask("stateNames");
export const query = ask("query");
export const execute = ask("execute");
export const configGet = ask("configGet");
export const configGetAll = ask("configGetAll");
export const log = ask("log");
export const exchange = ask("exchange");

export const awaitsPromises = true;
export const toS64 = BigInt;
