"""One step each, as it was when it was released."""
