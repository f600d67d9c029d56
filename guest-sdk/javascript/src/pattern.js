// The host's rules for names and versions, segment by segment.

export function matches(pattern, name) {
  const ofPattern = pattern.split(".");
  const ofName = name.split(".");
  const isOpen = ofPattern.at(-1) === "**";
  if (isOpen) ofPattern.pop();
  if (isOpen ? ofName.length < ofPattern.length : ofName.length !== ofPattern.length) return false;
  return ofPattern.every((segment, at) => segment === "*" || segment === ofName[at]);
}

export function isVersion(prefix, version) {
  const ofVersion = version.split(".");
  return prefix.split(".").every((segment, at) => segment === ofVersion[at]);
}
