// A package holds no symbolic links: `wit` is a copy while it is packed, and a link in the repository.
import { cpSync, rmSync, symlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";

const wit = fileURLToPath(new URL("../wit", import.meta.url));
rmSync(wit, { recursive: true });
if (process.argv[2] === "copy") {
  cpSync(fileURLToPath(new URL("../../../wit", import.meta.url)), wit, { recursive: true });
} else {
  symlinkSync("../../wit", wit);
}
