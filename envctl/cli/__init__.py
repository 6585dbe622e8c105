"""One command per file: parse, call, render."""
