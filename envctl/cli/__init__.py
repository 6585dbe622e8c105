"""One command per file: parse, call, render."""

import gc

# What is imported stays; looking through it for garbage again and again takes a tenth of a short command's time.
gc.set_threshold(50_000, 20, 20)
