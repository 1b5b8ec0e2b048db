"""One suite for all drivers: each module beside this one brings a protocol's simulated peer."""
