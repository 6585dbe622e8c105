"""One command per file: parse, call, render. The first line of a file is the command's one-line help."""
