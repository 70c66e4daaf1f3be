"""The whole system on this machine: what runs, in what order, how it is watched, started and stopped."""
