#!/usr/bin/env python3
"""A slow, unsteady wire that repeats itself: moves frames between two interfaces of a namespace, both ways.

    wire.py ONE OTHER DELAY JITTER OVERTAKE TWICE

UDP takes DELAY milliseconds, JITTER more or less. Of a hundred datagrams, OVERTAKE take no time at all, and of TWICE a copy
arrives as well, with a delay of its own. Everything else (ARP, neighbour discovery, IGMP, MLD) passes at once.
Without JITTER and OVERTAKE it keeps the order.
"""

import heapq
import itertools
import os
import random
import select
import socket
import sys
import time

# linux/if_packet.h, linux/if_ether.h, linux/if.h
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
EVERYTHING = 0x0003
# With PACKET_VNET_HDR this goes before each frame, in both directions: what the kernel left to do of the checksum stays left to do.
VNET_HEADER = 10
# What may wait while the program does not run, in bytes; without the right to it, what the system gives to everybody.
SO_RCVBUFFORCE, WAITING = 33, 4 << 20
LONGEST = VNET_HEADER + 65_536 + 18
UDP = 17


def attach(interface):
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    wire.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    try:
        wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, WAITING)
    except PermissionError:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WAITING)
    wire.bind((interface, EVERYTHING))
    wire.setblocking(False)
    return wire


def is_udp(frame):
    kind, packet = frame[12:14], frame[14:]
    if kind == b"\x08\x00":
        return packet[9:10] == bytes([UDP])
    return kind == b"\x86\xdd" and packet[6:7] == bytes([UDP])


class Wire:
    def __init__(self, delay, jitter, overtake, twice):
        self.delay, self.jitter, self.overtake, self.twice = delay, jitter, overtake, twice
        # What is under way: when it arrives, in which order it came, where it goes.
        self.under_way = []
        self.count = itertools.count()

    def takes(self):
        """Milliseconds."""
        if random.uniform(0, 100) < self.overtake:
            return 0
        return max(0, random.uniform(self.delay - self.jitter, self.delay + self.jitter))

    def put(self, frame, to):
        udp = is_udp(frame[VNET_HEADER:])
        copies = 2 if udp and random.uniform(0, 100) < self.twice else 1
        for _ in range(copies):
            at = time.monotonic() + (self.takes() / 1_000 if udp else 0)
            heapq.heappush(self.under_way, (at, next(self.count), frame, to))

    def wait(self):
        """Seconds until something arrives; None: nothing is under way."""
        return max(0, self.under_way[0][0] - time.monotonic()) if self.under_way else None

    def deliver(self):
        while self.under_way and self.under_way[0][0] <= time.monotonic():
            _, _, frame, to = heapq.heappop(self.under_way)
            try:
                to.send(frame)
            except BlockingIOError:
                pass  # a full queue loses, as on any wire


def main():
    # Each processor has a queue of its own for what goes into an interface: on two of them, frames would overtake each other.
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    one, other = (attach(interface) for interface in sys.argv[1:3])
    far = {one: other, other: one}
    wire = Wire(*map(float, sys.argv[3:7]))
    print("ready", flush=True)
    while True:
        readable, _, _ = select.select([one, other], [], [], wire.wait())
        for end in readable:
            wire.put(end.recv(LONGEST), far[end])
        wire.deliver()


try:
    main()
except OSError:
    pass  # an interface has vanished: the host was removed
