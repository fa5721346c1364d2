"""What every kind of aggregate is made of: how it is decided, evolved, woken and identified."""
