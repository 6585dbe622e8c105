"""An HTTP server that answers from a known instant on: it sleeps DELAY_S, listens, and prints when, in ns."""

import os
import socket
import threading
import time
from contextlib import suppress

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def answer(link: socket.socket) -> None:
    with link, suppress(OSError):
        link.settimeout(1.0)
        if link.recv(4096):
            link.sendall(ANSWER)


server = socket.socket()
server.bind(("0.0.0.0", 8000))
time.sleep(float(os.environ["DELAY_S"]))
server.listen(64)
print("listening since", time.time_ns(), flush=True)
while True:
    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
