"""Years of subscription life in seconds: the engine's own workflows and activities on a clock that skips."""
