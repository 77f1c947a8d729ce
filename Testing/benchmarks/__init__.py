"""Speed and memory as ratios measured in one run. Each script prints a table and, with --json, what it measured."""
