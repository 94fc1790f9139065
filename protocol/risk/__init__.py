"""Limits of what goes out: the gate that every order passes last, protections and locks, and kill levels."""
