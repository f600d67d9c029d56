package guest

import "testing"

func TestNamesMatchBySegments(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		matches       bool
	}{
		{"order.placed", "order.placed", true},
		{"order.placed", "order", false},
		{"order", "order.placed", false},
		{"order.*", "order.placed", true},
		{"order.*", "order.placed.late", false},
		{"*.placed", "order.placed", true},
		{"order.**", "order.placed.late", true},
		{"order.**", "order", true},
		{"**", "anything.at.all", true},
		{"**.placed", "a.placed", false},
		{"ord*", "order", false},
		{"", "order", true},
	} {
		if matches(test.pattern, test.name) != test.matches {
			t.Errorf("%s against %s", test.pattern, test.name)
		}
	}
}

func TestVersionsMatchByAPrefixOfSegments(t *testing.T) {
	if !versionMatches("1", "1.2.3") || !versionMatches("1.2.3", "1.2.3") || versionMatches("1", "10.2") || versionMatches("1.2.3", "1.2") {
		t.Error("versions match otherwise")
	}
}
