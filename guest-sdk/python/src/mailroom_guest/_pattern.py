"""The host's rules for names and versions, segment by segment."""


def matches(pattern: str, name: str) -> bool:
    of_pattern = pattern.split(".")
    of_name = name.split(".")
    if of_pattern[-1] == "**":
        of_pattern.pop()
        of_name = of_name[: len(of_pattern)]
    return len(of_pattern) == len(of_name) and all(
        segment in ("*", other) for segment, other in zip(of_pattern, of_name, strict=True)
    )


def is_version(prefix: str, version: str) -> bool:
    of_prefix = prefix.split(".")
    return version.split(".")[: len(of_prefix)] == of_prefix
