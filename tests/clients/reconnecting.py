"""A client that connects again whenever it has to, as those of a virtual address do.

It writes and reads back without a pause until its standard input ends, and says every 50 ms:
replies so far, wrong ones, and the longest time without one, in ms.
"""

import select
import socket
import sys
import time


def main() -> None:
    address = (sys.argv[1], int(sys.argv[2]))
    replies = wrong = longest = 0
    last = said = time.monotonic()
    connection = None
    while not select.select([sys.stdin], [], [], 0.002)[0]:
        try:
            if connection is None:
                connection = socket.create_connection(address, timeout=0.3)
            value = f"{replies:08}"
            connection.sendall(f"SET reconnecting {value}\r\nGET reconnecting\r\n".encode())
            expected = f"+OK\r\n$8\r\n{value}\r\n".encode()
            heard = b""
            while len(heard) < len(expected):
                more = connection.recv(1024)
                if not more:
                    raise ConnectionError
                heard += more
            wrong += heard != expected
            replies += 1
            now = time.monotonic()
            longest = max(longest, now - last)
            last = now
        except OSError:
            if connection is not None:
                connection.close()
            connection = None
        if time.monotonic() - said > 0.05:
            said = time.monotonic()
            print(replies, wrong, int(longest * 1000), flush=True)


main()
