"""The loads: what is asked of every proxy, what is read from it, and what is aimed at."""

import dataclasses
import json
import re
import resource
import shutil
import socket
import subprocess
import tempfile
import time

import servers

KEYS = 100_000
BASE = 100_000
WARM_UP = 2_000
RUN_S = 600
MIB = 2**20


class Trouble(Exception):
    """A run that can not be counted."""


@dataclasses.dataclass
class Sample:
    """One run of one load through one proxy."""

    requests: int = 0
    cpu_user_us: float = 0.0
    cpu_system_us: float = 0.0
    requests_a_second: float = 0.0
    mean_ms: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    p999_ms: float = 0.0
    # The load generator's own part of a latency, where it is known.
    late_p99_ms: float = 0.0
    memory_peak_bytes: int = 0
    # Peak above what the proxy held before the load; only where it was started afresh.
    memory_grown_bytes: int = 0
    memory_each_bytes: float = 0.0
    # The same process before there were connections, each second.
    cpu_alone_us: float = 0.0

    @property
    def cpu_us(self):
        return self.cpu_user_us + self.cpu_system_us

    def set_cpu(self, before, after, count):
        """For each of `count`: the total is exact, its parts are as the kernel's ticks have it."""
        total, user, system = (late - early for early, late in zip(before, after))
        self.cpu_user_us = total * 1e6 / count * (user / (user + system) if user else 0)
        self.cpu_system_us = total * 1e6 / count - self.cpu_user_us


@dataclasses.dataclass
class Aim:
    """A bound for a figure of a sample: as a share of another proxy's, or (of nobody's) itself."""

    limit: float
    of: str = ""
    figure: str = "cpu_us"
    whose: str = "corelay"
    why: str = ""


ALL = ("corelay", "nutcracker", "haproxy", "envoy")
PAIR = ("corelay", "nutcracker")


@dataclasses.dataclass
class Load:
    """What all loads have."""

    about: str
    # Who is measured if the command line names nobody.
    proxies: tuple = PAIR
    aims: tuple = ()
    # Always with the proxies on a CPU of their own.
    pinned: bool = False
    unit = "request"

    def said(self, base):
        """What is run, for the report."""
        return ""

    def lacks(self):
        """A program that has to be there and is not."""
        return None


@dataclasses.dataclass
class Benchmark(Load):
    """A run of redis-benchmark: one test or several, `share` of the base number of requests."""

    args: tuple = ()
    share: float = 1.0
    keys: int = KEYS
    unit: str = "request"
    # Bytes of value × clients: a fresh process, so that what it takes for them can be seen.
    in_flight: int = 0
    # As many connections for each core of the proxy.
    each_core: bool = False

    @property
    def clients(self):
        return int(self.args[self.args.index("-c") + 1])

    def requests(self, base):
        return max(2 * self.clients, int(base * self.share))

    def clients_of(self, proxy):
        two = self.each_core and proxy.name == "corelay-2cores"
        return self.clients * (2 if two else 1)

    def words(self, proxy, requests):
        # Of two options of a name the last counts.
        return ["redis-benchmark", "-h", "127.0.0.1", "-p", str(proxy.port.number),
                "-n", str(requests), "-r", str(self.keys), *self.args,
                "-c", str(self.clients_of(proxy))]

    def said(self, base):
        more = ", for two cores twice as many connections" if self.each_core else ""
        words = f"-n {self.requests(base)} -r {self.keys} {' '.join(self.args)}"
        return f"redis-benchmark {words}{more}"

    def run(self, proxy, base):
        requests, at_rest = self.requests(base), 0
        if self.in_flight:
            proxy.restart()
            benchmark(["redis-benchmark", "-p", str(proxy.port.number), "-n", "5000", "-t", "get"],
                      proxy)
            at_rest = proxy.memory("VmRSS")
        proxy.forget_peak()
        # Connections, buffers and code are warm before the clock starts.
        warm_up = max(self.clients_of(proxy), min(WARM_UP, requests // 5))
        benchmark(self.words(proxy, warm_up), proxy)
        if not self.in_flight:
            proxy.forget_peak()
        before = proxy.cpu()
        tests = benchmark(self.words(proxy, requests), proxy)
        after = proxy.cpu()
        done = requests * len(tests)
        seconds = sum(requests / test["rate"] for test in tests)
        sample = Sample(
            requests=done,
            requests_a_second=done / seconds,
            mean_ms=seconds * 1e3 * self.clients_of(proxy) / done,
            # Of GET and SET the worse one.
            p50_ms=max(test["p50"] for test in tests),
            p99_ms=max(test["p99"] for test in tests),
            p999_ms=max(test["p999"] for test in tests),
            memory_peak_bytes=proxy.memory("VmHWM"),
        )
        sample.set_cpu(before, after, done)
        if self.in_flight:
            sample.memory_grown_bytes = sample.memory_peak_bytes - at_rest
        if self.keys < KEYS:
            # The large values lie under keys that later loads ask for: small ones again.
            fill(proxy, self.keys, 20 * self.keys)
        return sample


@dataclasses.dataclass
class Rate(Load):
    """Requests at times that were set before (perf/rate.rs), so that a stall is not hidden."""

    rate: int = 20_000
    connections: int = 50
    seconds: float = 5.0

    def run_s(self, base):
        return max(1, round(self.seconds * base / BASE))

    def said(self, base):
        return (f"rate --rate {self.rate} --connections {self.connections} "
                f"--seconds {self.run_s(base)}")

    def lacks(self):
        return None if (servers.EXAMPLES / "rate").exists() else "the example rate (make perf)"

    def generate(self, proxy, base):
        """Runs the generator: requests that were answered, and the figures of the sample."""
        _, *args = self.said(base).split()
        address = f"127.0.0.1:{proxy.port.number}"
        said = json.loads(execute([str(servers.EXAMPLES / "rate"), address, *args], proxy))
        if said["unanswered"]:
            raise Trouble(f"{proxy.name} left {said['unanswered']} requests unanswered")
        return said["requests"], {
            "requests_a_second": said["rate_answered"],
            "late_p99_ms": said["late_p99_us"] / 1e3,
            **{f"{name}_ms": said[f"{name}_us"] / 1e3 for name in ("mean", "p50", "p99", "p999")},
        }

    def run(self, proxy, base):
        self.generate(proxy, 1)
        proxy.forget_peak()
        before = proxy.cpu()
        requests, figures = self.generate(proxy, base)
        after = proxy.cpu()
        sample = Sample(requests=requests, memory_peak_bytes=proxy.memory("VmHWM"), **figures)
        sample.set_cpu(before, after, requests)
        return sample


@dataclasses.dataclass
class Memtier(Rate):
    """The same by memtier_benchmark, where there is one: each connection keeps to its own rate."""

    def said(self, base):
        return (f"memtier_benchmark --protocol=redis --threads=1 --clients={self.connections} "
                f"--rate-limiting={self.rate // self.connections} --test-time={self.run_s(base)} "
                f"--ratio=1:1 --data-size=64 --key-prefix=key: --key-maximum={KEYS} "
                "--hide-histogram --print-percentiles=50,99,99.9")

    def lacks(self):
        return None if shutil.which("memtier_benchmark") else "memtier_benchmark"

    def generate(self, proxy, base):
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            execute([*self.said(base).split(), "--server=127.0.0.1",
                     f"--port={proxy.port.number}", f"--json-out-file={out.name}"], proxy)
            totals = json.load(out)["ALL STATS"]["Totals"]
        count = totals.get("Count") or round(totals["Ops/sec"] * self.run_s(base))
        steps = totals["Percentile Latencies"]
        return count, {
            "requests_a_second": totals["Ops/sec"], "mean_ms": totals["Latency"],
            "p50_ms": steps["p50.00"], "p99_ms": steps["p99.00"], "p999_ms": steps["p99.90"],
        }


@dataclasses.dataclass
class Idle(Load):
    """Connections that have asked once and then keep silent: memory each, CPU a second."""

    connections: int = 5_000
    unit = "second"

    def run(self, proxy, _base):
        if proxy.name != "direct":
            proxy.restart()
        # Code and first buffers are there before anything is counted.
        benchmark(["redis-benchmark", "-p", str(proxy.port.number), "-c", "200", "-n", "5000",
                   "-t", "get"], proxy)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = min(self.connections, limits[1] - 500)
        if limits[0] < count + 500:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count + 500, limits[1]))
        time.sleep(0.5)
        alone = Sample()
        alone.set_cpu(*watch(proxy, 1))
        before = proxy.memory("VmRSS")
        wires = []
        try:
            for _ in range(count):
                wire = proxy.connect()
                wire.sendall(b"*2\r\n$3\r\nGET\r\n$5\r\nready\r\n")
                wires.append(wire)
                if not wire.recv(64).startswith((b"$", b"+")):
                    raise Trouble(f"{proxy.name} does not serve {count} connections")
            time.sleep(0.5)
            spent = watch(proxy, 2)
            after = proxy.memory("VmRSS")
        except (ConnectionError, socket.timeout) as error:
            raise Trouble(f"{proxy.name} does not serve {count} connections: {error}") from error
        finally:
            for wire in wires:
                wire.close()
        sample = Sample(
            requests=count,
            cpu_alone_us=alone.cpu_us,
            memory_peak_bytes=after,
            memory_each_bytes=(after - before) / count,
        )
        sample.set_cpu(*spent)
        return sample


def watch(proxy, seconds):
    """Its CPU before and after some seconds of silence, and how many they were."""
    cpu, start = proxy.cpu(), time.monotonic()
    time.sleep(seconds)
    return cpu, proxy.cpu(), time.monotonic() - start


MGET = ("MGET", *["key:__rand_int__"] * 10)
SMALL = ("-d", "64", "-t", "set,get")


def values(size, clients, share, keys, limit, more=()):
    about = f"{size // 1024} KiB" if size < MIB else f"{size // MIB} MiB"
    return Benchmark(
        f"values of {about}, {clients} connections",
        args=("-c", str(clients), "-d", str(size), "-t", "set,get"),
        share=share, keys=keys, in_flight=size * clients,
        aims=((Aim(limit, "nutcracker"),) if limit else ()) + more,
    )


LOADS = {
    "p1": Benchmark(
        "50 connections, no pipeline, GET and SET of 64 B", (*ALL, "echo"),
        (Aim(0.70, "nutcracker"), Aim(1.15, "echo")), args=("-c", "50", "-P", "1", *SMALL),
    ),
    "p16": Benchmark(
        "50 connections, pipeline 16", ALL, (Aim(0.35, "nutcracker"), Aim(0.70, "haproxy")),
        args=("-c", "50", "-P", "16", *SMALL), share=4,
    ),
    "p64": Benchmark(
        "50 connections, pipeline 64", ALL, (Aim(0.12, "nutcracker"), Aim(1.0, "haproxy")),
        args=("-c", "50", "-P", "64", *SMALL), share=8,
    ),
    "mget10": Benchmark(
        "MGET of 10 keys over the shards, 50 connections", ("corelay", "nutcracker", "envoy"),
        (Aim(0.60, "nutcracker"),), args=("-c", "50", *MGET), share=0.5,
    ),
    "c1000": Benchmark(
        "1,000 connections, no pipeline", ALL, (Aim(0.55, "nutcracker"),),
        args=("-c", "1000", "-P", "1", *SMALL), share=0.5,
    ),
    "v16k": values(16 * 1024, 50, 0.4, 1_000, 0.85),
    "v256k": values(256 * 1024, 50, 0.05, 100, 0.75),
    "v1m": values(MIB, 20, 0.012, 50, 0.85),
    "v8m": values(8 * MIB, 20, 0.001, 10, None, (
        Aim(68 * MIB, figure="memory_grown_bytes",
            why="20 × client_output_soft_bytes + 3 lanes × lane_output_soft_bytes"),)),
    "connect": Benchmark(
        "connect, PING, close; 50 at a time", ALL, (Aim(1.0, "nutcracker"),),
        args=("-c", "50", "-k", "0", "-t", "ping_mbulk"), share=0.2, unit="connection",
    ),
    "idle": Idle(
        "5,000 idle connections", ALL,
        (Aim(1024, figure="memory_each_bytes"),
         Aim(1_000, figure="cpu_us", why="0.1 % of a core")),
    ),
    "rate": Rate(
        "20,000 requests/s at times set before, 50 connections", (*PAIR, "echo"),
        (Aim(1.0, "nutcracker", "p99_ms"), Aim(1.0, "nutcracker", "p999_ms")),
    ),
    "memtier": Memtier(
        "20,000 requests/s by memtier_benchmark, 50 connections", PAIR,
        (Aim(1.0, "nutcracker", "p99_ms"), Aim(1.0, "nutcracker", "p999_ms")),
    ),
    "cores": Benchmark(
        "2 cores instead of 1: the load p1", ("corelay", "corelay-2cores"),
        (Aim(1.10, "corelay", whose="corelay-2cores"),), args=("-c", "50", "-P", "1", *SMALL),
    ),
    "cores16": Benchmark(
        "2 cores instead of 1: the load p16", ("corelay", "corelay-2cores"),
        (Aim(1.10, "corelay", whose="corelay-2cores"),), args=("-c", "50", "-P", "16", *SMALL),
        share=4,
    ),
    "cores-each": Benchmark(
        "2 cores instead of 1, each with the connections of p1", ("corelay", "corelay-2cores"),
        (Aim(1.10, "corelay", whose="corelay-2cores"),), args=("-c", "50", "-P", "1", *SMALL),
        each_core=True,
    ),
    "cores16-each": Benchmark(
        "2 cores instead of 1, each with the connections of p16", ("corelay", "corelay-2cores"),
        (Aim(1.10, "corelay", whose="corelay-2cores"),), args=("-c", "50", "-P", "16", *SMALL),
        share=4, each_core=True,
    ),
    "pin-p1": Benchmark(
        "the load p1, proxy on a CPU of its own",
        ("corelay", "corelay-nogather", "corelay-batch300", "nutcracker", "haproxy", "echo"),
        (Aim(0.55, "nutcracker"), Aim(0.55, "nutcracker", whose="corelay-batch300"),
         Aim(1.0, "nutcracker", "p99_ms")),
        pinned=True, args=("-c", "50", "-P", "1", *SMALL), share=0.6,
    ),
    "pin-lone": Benchmark(
        "one connection, no pipeline, proxy on a CPU of its own",
        ("corelay", "corelay-nogather", "nutcracker"),
        (Aim(1.05, "corelay-nogather", "mean_ms"),),
        pinned=True, args=("-c", "1", "-P", "1", *SMALL), share=0.1,
    ),
}


def prepare(proxy):
    """The keys that GET and MGET ask for are there, wherever this proxy puts them."""
    if proxy.name != "echo":
        fill(proxy, KEYS, 4 * KEYS)


def fill(proxy, keys, requests):
    """Values of 64 B under (nearly) all of the first `keys` keys."""
    benchmark(["redis-benchmark", "-h", "127.0.0.1", "-p", str(proxy.port.number), "-c", "50",
               "-P", "64", "-n", str(requests), "-r", str(keys), "-d", "64", "-t", "set"], proxy)


def execute(command, proxy):
    """What a load generator said. (redis-benchmark asks on for ever when a proxy has ended.)"""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as complaints:
        load = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=complaints)
        try:
            await_end(load, command, proxy)
        finally:
            load.kill()
            load.wait()
        out.seek(0)
        complaints.seek(0)
        said, complained = out.read().replace("\r", "\n"), complaints.read()
    bad = [line for line in (said + complained).splitlines()
           if "error" in line.lower() and "errors" not in line.lower()]
    if load.returncode or bad:
        raise Trouble(f"{' '.join(command)} failed: {bad[:1] or complained[-500:]}")
    return said


def await_end(load, command, proxy):
    deadline = time.monotonic() + RUN_S
    while True:
        try:
            load.wait(timeout=1)
            return
        except subprocess.TimeoutExpired:
            pass
        if proxy.process.poll() is not None:
            raise Trouble(f"{proxy.name} ended: {proxy.log_end()}")
        if time.monotonic() > deadline:
            raise Trouble(f"does not end within {RUN_S} s: {' '.join(command)}")


def benchmark(command, proxy):
    """Runs redis-benchmark; what it found for each of its tests."""
    said = execute(command, proxy)
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
