"""What a scenario can do to each kind of device: every public coroutine is an action's name."""
