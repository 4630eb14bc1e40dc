"""A listener for the versions in memory."""

from collections.abc import Callable


class Ear:
    """Hears what the test says, and nothing else."""

    is_connected = True

    def on_model(self, callback: Callable[[str | None], None]) -> None:
        self.hear = callback

    def on_use(self, callback: Callable[[], None]) -> None:
        self.hear_of_use = callback
