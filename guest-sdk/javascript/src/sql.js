import * as host from "#imports";
import { toBytes, toText } from "./data.js";

export class SqlError extends Error {
  constructor(sqlstate, message) {
    super(message);
    this.name = "SqlError";
    this.sqlstate = sqlstate;
  }
}

function query(statement, params = []) {
  const { columns, rows: wire } = ask(host.query, statement, params);
  const values = wire.map((row) => row.map((value, column) => fromValue(value, columns[column])));
  const rows = values.map((row) => Object.fromEntries(row.map((value, column) => [columns[column], value])));
  return { columns, rows, values };
}

const execute = (statement, params = []) => Number(ask(host.execute, statement, params));

/** Forces the type that a number has as a parameter. */
const float = (value) => new Float(value);

export const sql = Object.freeze({ query, execute, float });

class Float {
  constructor(value) {
    if (typeof value !== "number") throw new TypeError("sql.float takes a number");
    this.value = value;
  }
}

function ask(question, statement, params) {
  const text = toText(statement, "the statement");
  const values = Array.from(params, toValue);
  try {
    return question(text, values);
  } catch (error) {
    if (error?.payload?.sqlstate === undefined) throw error;
    throw new SqlError(error.payload.sqlstate, error.payload.message);
  }
}

function toValue(param, index) {
  if (param == null) return { tag: "null" };
  switch (typeof param) {
    case "boolean":
      return { tag: "boolean", val: param };
    case "string":
      return { tag: "text", val: param.toWellFormed() };
    case "number":
      // A -0 would lose its sign as an integer.
      if (Number.isSafeInteger(param) && !Object.is(param, -0)) return { tag: "integer", val: host.toS64(param) };
      return { tag: "float", val: param };
    case "bigint":
      return { tag: "integer", val: host.toS64(param) };
    default:
      if (param instanceof Float) return { tag: "float", val: param.value };
      return { tag: "bytes", val: toBytes(param, `parameter $${index + 1}`) };
  }
}

function fromValue({ tag, val }, column) {
  if (tag === "null") return null;
  if (tag !== "integer") return val;
  const number = Number(val);
  if (Number.isSafeInteger(number)) return number;
  if (typeof val === "bigint") return val;
  throw new RangeError(`the integer in column ${column} is too large for a number: cast it in the statement to text`);
}
