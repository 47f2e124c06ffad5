"""Kowalski's own: sample books that are lent to shops and have to come back."""
