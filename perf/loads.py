"""The loads: what redis-benchmark is asked to do, and what is read from it and from /proc."""

import dataclasses
import re
import resource
import socket
import subprocess
import time

KEYS = 100_000
WARM_UP = 2_000
RUN_S = 600


class Trouble(Exception):
    """A run that can not be counted."""


@dataclasses.dataclass
class Sample:
    """One run of one load through one proxy."""

    requests: int = 0
    cpu_user_us: float = 0.0
    cpu_system_us: float = 0.0
    requests_a_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    p999_ms: float = 0.0
    memory_peak_bytes: int = 0
    memory_each_bytes: float = 0.0

    @property
    def cpu_us(self):
        return self.cpu_user_us + self.cpu_system_us


@dataclasses.dataclass
class Benchmark:
    """A run of redis-benchmark: one test or several, `share` of the base number of requests."""

    about: str
    args: list
    share: float = 1.0
    keys: int = KEYS
    # corelay ÷ the other, CPU for each request: what is aimed at.
    targets: dict = dataclasses.field(default_factory=dict)
    unit: str = "request"

    def command(self, proxy, requests):
        return ["redis-benchmark", "-h", "127.0.0.1", "-p", str(proxy.port.number),
                "-n", str(requests), "-r", str(self.keys), *self.args]

    def run(self, proxy, base):
        requests = max(200, int(base * self.share))
        # Connections, buffers and code are warm before the clock starts.
        benchmark(self.command(proxy, min(WARM_UP, requests)))
        proxy.forget_peak()
        before = proxy.cpu()
        tests = benchmark(self.command(proxy, requests))
        after = proxy.cpu()
        if proxy.process.poll() is not None:
            raise Trouble(f"{proxy.name} ended under {self.about}: {proxy.log_end()}")
        done = requests * len(tests)
        sample = Sample(
            requests=done,
            cpu_user_us=(after[0] - before[0]) * 1e6 / done,
            cpu_system_us=(after[1] - before[1]) * 1e6 / done,
            requests_a_second=done / sum(requests / test["rate"] for test in tests),
            # Of GET and SET the worse one.
            p50_ms=max(test["p50"] for test in tests),
            p99_ms=max(test["p99"] for test in tests),
            p999_ms=max(test["p999"] for test in tests),
            memory_peak_bytes=proxy.memory("VmHWM"),
        )
        if self.keys < KEYS:
            # The large values lie under keys that later loads ask for: small ones again.
            fill(proxy, self.keys, 20 * self.keys)
        return sample


@dataclasses.dataclass
class Idle:
    """Connections that have asked once and then keep silent: memory each, CPU a second."""

    about: str
    connections: int
    targets: dict = dataclasses.field(default_factory=dict)
    unit: str = "second"

    def run(self, proxy, _base):
        if proxy.name != "direct":
            proxy.restart()
        # Code and first buffers are there before anything is counted.
        benchmark(["redis-benchmark", "-p", str(proxy.port.number), "-n", "2000", "-t", "get"])
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = min(self.connections, limits[1] - 500)
        if limits[0] < count + 500:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count + 500, limits[1]))
        before = proxy.memory("VmRSS")
        wires = []
        try:
            for _ in range(count):
                wire = proxy.connect()
                wire.sendall(b"*2\r\n$3\r\nGET\r\n$5\r\nready\r\n")
                wires.append(wire)
            for wire in wires:
                if not wire.recv(64).startswith(b"$"):
                    raise Trouble(f"{proxy.name} does not serve {count} connections")
            time.sleep(0.5)
            cpu, start = proxy.cpu(), time.monotonic()
            time.sleep(2)
            spent, seconds = proxy.cpu(), time.monotonic() - start
            after = proxy.memory("VmRSS")
        except (ConnectionError, socket.timeout) as error:
            raise Trouble(f"{proxy.name} does not serve {count} connections: {error}") from error
        finally:
            for wire in wires:
                wire.close()
        return Sample(
            requests=count,
            cpu_user_us=(spent[0] - cpu[0]) * 1e6 / seconds,
            cpu_system_us=(spent[1] - cpu[1]) * 1e6 / seconds,
            memory_peak_bytes=after,
            memory_each_bytes=(after - before) / count,
        )


MGET = ["MGET"] + ["key:__rand_int__"] * 10
SMALL = ["-d", "64", "-t", "set,get"]

LOADS = {
    "p1": Benchmark(
        "50 connections, no pipeline, GET and SET of 64 B", ["-c", "50", "-P", "1", *SMALL],
        targets={"nutcracker": 0.70},
    ),
    "p16": Benchmark(
        "50 connections, pipeline 16", ["-c", "50", "-P", "16", *SMALL], share=8,
        targets={"nutcracker": 0.35, "haproxy": 0.70},
    ),
    "p64": Benchmark(
        "50 connections, pipeline 64", ["-c", "50", "-P", "64", *SMALL], share=20,
        targets={"nutcracker": 0.12, "haproxy": 1.0},
    ),
    "mget10": Benchmark(
        "MGET of 10 keys over the shards, 50 connections", ["-c", "50", *MGET],
        targets={"nutcracker": 0.60},
    ),
    "c1000": Benchmark(
        "1,000 connections, no pipeline", ["-c", "1000", "-P", "1", *SMALL],
        targets={"nutcracker": 0.55},
    ),
    "v16k": Benchmark(
        "values of 16 KiB, 50 connections", ["-c", "50", "-d", "16384", "-t", "set,get"],
        share=0.4, keys=1_000, targets={"nutcracker": 0.85},
    ),
    "v256k": Benchmark(
        "values of 256 KiB, 50 connections", ["-c", "50", "-d", "262144", "-t", "set,get"],
        share=0.05, keys=100, targets={"nutcracker": 0.75},
    ),
    "v1m": Benchmark(
        "values of 1 MiB, 20 connections", ["-c", "20", "-d", "1048576", "-t", "set,get"],
        share=0.012, keys=50, targets={"nutcracker": 0.85},
    ),
    "connect": Benchmark(
        "connect, PING, close; 50 at a time", ["-c", "50", "-k", "0", "-t", "ping_mbulk"],
        share=0.2, targets={"nutcracker": 1.0}, unit="connection",
    ),
    "idle": Idle("5,000 idle connections", 5_000),
}


def prepare(proxy):
    """The keys that GET and MGET ask for are there, wherever this proxy puts them."""
    fill(proxy, KEYS, 4 * KEYS)


def fill(proxy, keys, requests):
    """Values of 64 B under (nearly) all of the first `keys` keys."""
    benchmark(["redis-benchmark", "-h", "127.0.0.1", "-p", str(proxy.port.number), "-c", "50",
               "-P", "64", "-n", str(requests), "-r", str(keys), "-d", "64", "-t", "set"])


def benchmark(command):
    """Runs redis-benchmark; what it found for each of its tests."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"does not end within {RUN_S} s: {' '.join(command)}") from error
    said = done.stdout.replace("\r", "\n")
    bad = [line for line in (said + done.stderr).splitlines()
           if "error" in line.lower() and "errors" not in line.lower()]
    if done.returncode or bad:
        raise Trouble(f"{' '.join(command)} failed: {bad[:1] or done.stderr[-500:]}")
    tests = [parse(part) for part in re.split(r"^====== .* ======$", said, flags=re.M)[1:]]
    if not tests:
        raise Trouble(f"no result of {' '.join(command)}: {said[-500:]}")
    return tests


def parse(text):
    """The figures of one test in redis-benchmark's long form."""
    rate = re.search(r"throughput summary: ([\d.]+) requests per second", text)
    steps = [(float(percent), float(ms)) for percent, ms in
             re.findall(r"^([\d.]+)% <= ([\d.]+) milliseconds \(cumulative", text, re.M)]
    if not rate or not steps:
        raise Trouble(f"redis-benchmark said something new: {text[-500:]}")

    def at(percent):
        return next((ms for reached, ms in steps if reached >= percent), steps[-1][1])

    # The summary has p50 and p99 exactly, the distribution p99.9 to its next step.
    exact = re.search(r"avg\s+min\s+p50\s+p95\s+p99\s+max\s*\n\s*([\d.\s]+)", text)
    figures = [float(figure) for figure in exact[1].split()] if exact else []
    p50, p99 = (figures[2], figures[4]) if len(figures) == 6 else (at(50), at(99))
    return {"rate": float(rate[1]), "p50": p50, "p99": p99, "p999": at(99.9)}
