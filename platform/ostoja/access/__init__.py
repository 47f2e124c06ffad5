"""Access: users, roles, departments, levels and scopes; who may do what, and why."""
