"""Whatever comes from outside is read, or refused with a documented error: never another one, and soon."""
