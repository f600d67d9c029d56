package guest

import "strings"

// matches tells whether dot-separated segments fit a pattern: "*" is one, a last "**" is the rest, which may be none.
// An empty pattern fits all.
func matches(pattern, value string) bool {
	if pattern == "" {
		return true
	}
	patterns, segments := strings.Split(pattern, "."), strings.Split(value, ".")
	for i, wanted := range patterns {
		if wanted == "**" && i == len(patterns)-1 {
			return true
		}
		if i >= len(segments) || wanted != "*" && wanted != segments[i] {
			return false
		}
	}
	return len(patterns) == len(segments)
}

// versionMatches tells whether a version begins with the segments of a prefix: "1" fits "1.2". An empty prefix fits
// all.
func versionMatches(prefix, version string) bool {
	return prefix == "" || version == prefix || strings.HasPrefix(version, prefix+".")
}
