#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The host's side of tests that look at QEMU:  host.py QMP-SOCKET PORT-SOCKET RAM-MB

A guest's test writes a request to a virtio port, a line, and reads the answer, a line.

  rss          waits until QEMU's memory has stopped to change: "ok RSS-KB RAM-KB PEAK-KB",
               all of QEMU's memory that is resident, that part of it which is the guest's
               RAM, and the highest value of that part since the last request
  plug MB      asks virtio-mem for this size, waits until its size has stopped to change:
               "ok SIZE-KB"
  plugged      that size: "ok SIZE-KB"; 0 if the guest has no virtio-mem
  wake SECONDS wakes a guest that sleeps, after this time: "ok"

An answer that begins with "error" says why.  RAM-MB is the sum of sizes, comma-separated
if there are several mappings.  Ends with QEMU.
"""

import json
import os
import socket
import sys
import threading
import time

STEADY = 7      # seconds; the guest reports free pages every 2 seconds
PATIENCE = 90   # seconds
VMEM = '/machine/peripheral/vmem0'


def connect(path, seconds=60):
    end = time.monotonic() + seconds
    while True:
        try:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            return sock
        except OSError:
            sock.close()
            if time.monotonic() > end:
                sys.exit(f'host.py: nothing listens on {path}')
            time.sleep(0.2)


class Qmp:
    """QEMU's monitor"""

    def __init__(self, path):
        self.sock = connect(path)
        self.lines = self.sock.makefile('r')
        self.lock = threading.Lock()
        self.lines.readline()
        self.run('qmp_capabilities')

    def run(self, command, **arguments):
        with self.lock:
            text = json.dumps({'execute': command, 'arguments': arguments})
            self.sock.sendall(text.encode() + b'\n')
            for line in self.lines:
                answer = json.loads(line)
                if 'error' in answer:
                    raise RuntimeError(answer['error']['desc'])
                if 'return' in answer:
                    return answer['return']
        raise RuntimeError('QEMU has ended')

    def plugged(self):
        """The memory that virtio-mem has plugged, in KB"""
        try:
            return self.run('qom-get', path=VMEM, property='size') >> 10
        except RuntimeError:
            return 0


def peer(sock):
    """The process at the other end of a socket"""
    cred = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(cred[:4], sys.byteorder)


def resident(pid, sizes):
    """Resident memory of a process, and of its mappings of these sizes, in KB"""
    total = ram = size = 0
    with open(f'/proc/{pid}/smaps', encoding='ascii', errors='replace') as smaps:
        for line in smaps:
            if line.startswith('Size:'):
                size = int(line.split()[1])
            elif line.startswith('Rss:'):
                rss = int(line.split()[1])
                total += rss
                if size in sizes:
                    ram += rss
    if not ram:
        raise RuntimeError('the mapping of the RAM was not found')
    return total, ram


class Watcher(threading.Thread):
    """Looks at the guest's RAM all the time, for its highest value"""

    def __init__(self, pid, sizes):
        super().__init__(daemon=True)
        self.pid, self.sizes, self.peak = pid, sizes, 0
        self.start()

    def run(self):
        while True:
            try:
                self.look()
            except (OSError, RuntimeError):
                return
            time.sleep(0.5)

    def look(self):
        rss, ram = resident(self.pid, self.sizes)
        self.peak = max(self.peak, ram)
        return rss, ram

    def take_peak(self):
        peak, self.peak = self.peak, 0
        return peak


def steady(look, slack):
    """Returns the value once it has changed by no more than slack for a while"""
    end = time.monotonic() + PATIENCE
    value, since = look(), time.monotonic()
    while time.monotonic() < end and time.monotonic() < since + STEADY:
        time.sleep(0.5)
        now = look()
        if abs(now[-1] - value[-1]) > slack:
            value, since = now, time.monotonic()
    return look()


def answer(request, qmp, watcher):
    word, *rest = request.split()
    if word == 'rss':
        return 'ok {} {} {}'.format(*steady(watcher.look, 1024), watcher.take_peak())
    if word == 'plugged':
        return f'ok {qmp.plugged()}'
    if word == 'plug':
        qmp.run('qom-set', path=VMEM, property='requested-size', value=int(rest[0]) << 20)
        return 'ok {}'.format(*steady(lambda: (qmp.plugged(),), 0))
    if word == 'wake':
        threading.Timer(float(rest[0]), lambda: qmp.run('system_wakeup')).start()
        return 'ok'
    return f'error unknown request {word}'


def main():
    qmp = Qmp(sys.argv[1])
    port = connect(sys.argv[2])
    watcher = Watcher(peer(port), {int(mb) << 10 for mb in sys.argv[3].split(',')})
    for line in port.makefile('r'):
        try:
            text = answer(line, qmp, watcher)
        except (RuntimeError, OSError, ValueError, IndexError) as error:
            text = f'error {error}'
        port.sendall(text.encode() + b'\n')


if __name__ == '__main__':
    try:
        main()
    except (BrokenPipeError, ConnectionResetError):
        pass
