"""Who calls: logins of people and programs."""
