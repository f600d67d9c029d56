module mailroom/guest

go 1.26
