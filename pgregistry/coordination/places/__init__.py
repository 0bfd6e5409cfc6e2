"""Compare the host and the domain that each rank writes with those that the plan took for granted."""
