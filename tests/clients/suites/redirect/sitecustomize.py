"""On the path of the suites whose tests have redis' usual port in their lines: every Python process
of theirs, whoever starts it, connects to the port that is being tested instead."""

import os
import socket

USUAL, TESTED = 6379, int(os.environ["CORELAY_TESTED_PORT"])
connect = socket.socket.connect


def redirected(self, address):
    if isinstance(address, tuple) and address[1] == USUAL:
        address = (address[0], TESTED, *address[2:])
    return connect(self, address)


socket.socket.connect = redirected
