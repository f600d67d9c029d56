module totals

go 1.26

require mailroom/guest v0.1.0

replace mailroom/guest => ../../guest-sdk/go
