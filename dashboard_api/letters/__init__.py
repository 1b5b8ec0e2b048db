"""Dead letters: looking at them, putting them back, setting them aside."""
