"""The redis-servers and the proxies: how each is started, asked, measured and ended."""

import os
import pathlib
import platform
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARDS = 3
READY_S = 15
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
EXAMPLES = ROOT / "target/release/examples"
# Before anything is pinned.
CPUS = sorted(os.sched_getaffinity(0))


class Trouble(Exception):
    """Something that the user has to know, and that ends the run."""


class Port:
    """A port that the system chose and that nobody else gets while this is held.

    Bound with SO_REUSEADDR and SO_REUSEPORT and never listened on: the server that it is meant
    for can still bind it.
    """

    def __init__(self):
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._held.bind(("127.0.0.1", 0))
        self.number = self._held.getsockname()[1]


class Server:
    """A process of ours that answers on a port."""

    def __init__(self, name, command, port, cpus, log):
        self.name, self.command, self.port = name, [str(word) for word in command], port
        taskset = ["taskset", "-c", ",".join(map(str, cpus))] if cpus else []
        self._whole_command, self._log = taskset + self.command, log
        self._start()

    def _start(self):
        with open(self._log, "ab") as out:
            self.process = subprocess.Popen(
                self._whole_command, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def restart(self):
        """A fresh process that has not grown under earlier loads."""
        self.end()
        self._wait_gone()
        self._start()
        self.wait_ready()

    def _wait_gone(self):
        """Until nobody listens on its port: the kernel ends an io_uring after its process."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            try:
                self.connect().close()
            except ConnectionRefusedError:
                return
            except OSError:
                pass
            time.sleep(0.02)
        raise Trouble(f"somebody still listens on the port of {self.name}")

    def wait_ready(self):
        """Until a SET through it is answered by +OK (by the echo server: +PONG)."""
        deadline = time.monotonic() + READY_S
        while True:
            if self.process.poll() is not None:
                raise Trouble(f"{self.name} ended: {self.log_end()}")
            try:
                if self.ask("SET", "ready", "1").startswith(b"+"):
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise Trouble(f"{self.name} does not serve within {READY_S} s: {self.log_end()}")
            time.sleep(0.05)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port.number), timeout=5)

    def ask(self, *words):
        """The first bytes of a reply."""
        request = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
        with self.connect() as wire:
            wire.sendall(request.encode())
            return wire.recv(4096)

    def log_end(self):
        text = pathlib.Path(self._log).read_text(errors="replace").strip()
        return text[-2000:] or "it said nothing"

    def pids(self):
        """Its process and all below it."""
        found, unseen = [], [self.process.pid]
        while unseen:
            pid = unseen.pop()
            found.append(pid)
            for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                unseen += [int(child) for child in children.read_text().split()]
        return found

    def cpu(self):
        """CPU time so far, seconds: total, and by ticks of 10 ms user and system.

        The total is the process's CPU clock, which counts nanoseconds of all its threads, also of
        those that have ended.
        """
        total = user = system = 0
        for pid in self.pids():
            # As clock_getcpuclockid(3) makes it of a process: CPUCLOCK_SCHED of its threads.
            total += time.clock_gettime((~pid << 3) | 2)
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
            user, system = user + int(fields[11]), system + int(fields[12])
        return total, user / TICKS_A_SECOND, system / TICKS_A_SECOND

    def memory(self, field):
        """VmRSS (now) or VmHWM (highest since `forget_peak`), bytes."""
        kilobytes = 0
        for pid in self.pids():
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(field + ":"):
                    kilobytes += int(line.split()[1])
        return kilobytes * 1024

    def forget_peak(self):
        for pid in self.pids():
            try:
                pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
            except OSError:
                pass  # then the peak is that since its start

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def nutcracker(directory, port, redis, _stack):
    path = directory / "nutcracker.yml"
    path.write_text(
        f"cache:\n  listen: 127.0.0.1:{port.number}\n  redis: true\n  hash: fnv1a_64\n"
        "  distribution: ketama\n  timeout: 20000\n  backlog: 1024\n  servers:\n"
        + "".join(f"   - 127.0.0.1:{r.port.number}:1 shard{i + 1}\n" for i, r in enumerate(redis))
    )
    stats = Port()
    program = shutil.which("nutcracker") or shutil.which("/usr/sbin/nutcracker")
    return program, ["-c", path, "-a", "127.0.0.1", "-s", stats.number, "-v", 4]


def haproxy(directory, port, redis, _stack):
    path = directory / "haproxy.cfg"
    path.write_text(
        "global\n  nbthread 1\n  maxconn 8000\n"
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n"
        f"listen redis\n  bind 127.0.0.1:{port.number} backlog 1024\n"
        f"  server shard1 127.0.0.1:{redis[0].port.number}\n"
    )
    return shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy"), ["-db", "-f", path]


def envoy(directory, port, redis, _stack):
    path = directory / "envoy.yaml"
    kind = "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy"
    address = "{socket_address: {address: 127.0.0.1, port_value: %d}}"
    endpoints = "".join(
        f"      - endpoint: {{address: {address % r.port.number}}}\n" for r in redis
    )
    path.write_text(
        "static_resources:\n  listeners:\n"
        f"  - address: {address % port.number}\n"
        "    filter_chains:\n    - filters:\n"
        "      - name: envoy.filters.network.redis_proxy\n        typed_config:\n"
        f'          "@type": {kind}\n'
        "          stat_prefix: redis\n          settings: {op_timeout: 20s}\n"
        "          prefix_routes: {catch_all_route: {cluster: stores}}\n"
        "  clusters:\n  - name: stores\n    type: STATIC\n    lb_policy: RING_HASH\n"
        "    load_assignment:\n      cluster_name: stores\n      endpoints:\n"
        "      - lb_endpoints:\n" + endpoints.replace("      - ", "        - ")
    )
    # The wheel brings the binary; what it puts in bin/ is a Python script that starts it.
    inside = sorted(ROOT.glob(".venv/lib/python3*/site-packages/envoy/_bin/envoy"))
    program = inside[0] if inside else shutil.which("envoy")
    more = ["--concurrency", 1, "--disable-hot-restart", "--log-level", "warning"]
    return program, ["-c", path, *more]


def corelay(name, cores=1, **changes):
    """A kind of corelay: cores, further keys of [proxy], and `binary`, the option that names it."""

    def make(directory, port, redis, stack):
        path = directory / f"{name}.toml"
        ids = f"[{stack.proxy_cpus[0]}]" if stack.pinned and cores == 1 else str(cores)
        given = dict(line.split("=", 1) for line in stack.options.corelay_proxy.split(";") if line)
        keys = {key.strip(): value.strip() for key, value in given.items()} | {
            key: str(value) for key, value in changes.items() if key != "binary"}
        more = "".join(f"{key} = {value}\n" for key, value in keys.items())
        shards = "".join(
            f'[[pool.shard]]\nname = "shard{i + 1}"\naddress = "127.0.0.1:{r.port.number}"\n'
            for i, r in enumerate(redis)
        )
        path.write_text(
            f'[proxy]\ncores = {ids}\nadmin_listen = "off"\n{more}'
            f'[[pool]]\nname = "cache"\nlisten = ["127.0.0.1:{port.number}"]\n'
            f'hash = "fnv1a_64"\ndistribution = "ketama"\ntimeout_ms = 20000\nbacklog = 1024\n'
            f"{shards}"
        )
        program = getattr(stack.options, changes.get("binary", "corelay"))
        # (An absolute path stays what it is.)
        program = ROOT / program if program else None
        return program if program and program.exists() else None, ["run", "-c", path]

    return make


def echo(_directory, port, _redis, stack):
    # corelay with one core takes the first CPU, too.
    program, cpu = EXAMPLES / "echo", (stack.proxy_cpus or CPUS)[0]
    return program if program.exists() else None, [f"127.0.0.1:{port.number}", cpu]


# In the order of the report; `direct` is the first redis-server without any proxy.
KINDS = {
    "corelay": corelay("corelay"),
    "corelay-nogather": corelay("corelay-nogather", batch_us=0),
    "corelay-batch300": corelay("corelay-batch300", batch_us=300),
    "corelay-2cores": corelay("corelay-2cores", cores=2),
    "corelay-other": corelay("corelay-other", binary="other"),
    "nutcracker": nutcracker, "haproxy": haproxy, "envoy": envoy, "echo": echo,
    "direct": None,
}
# They pin their cores themselves, and need another CPU for their other threads.
PIN_THEMSELVES = ("corelay", "echo")


class Stack:
    """Everything that runs, ended on the way out.

    Pinned: the proxies on the last CPU, load and redis-servers on the others.
    """

    def __init__(self, options, names, pinned, say):
        self.options, self.pinned = options, pinned
        self.proxy_cpus = CPUS[-1:] if pinned else []
        self.other_cpus = CPUS[:-1] if pinned else []
        self._names, self._say = names, say
        self._started, self.proxies, self.configs = [], [], {}

    def __enter__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="compare-")
        try:
            self._start(pathlib.Path(self._directory.name))
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, directory):
        # The load generator is a child of this process: it inherits these CPUs.
        if self.pinned:
            os.sched_setaffinity(0, self.other_cpus)
        self.redis = [self._redis(directory, number) for number in range(SHARDS)]
        for server in self.redis:
            server.wait_ready()
        for name in self._names:
            proxy = self._proxy(directory, name)
            if proxy:
                self.proxies.append(proxy)
            elif self.options.proxies:
                raise Trouble(f"{name} is not there; `make perf` builds and installs what it can")
            else:
                self._say(f"{name} is not there: left out")
        if not self.proxies:
            raise Trouble("there is no proxy to measure")

    def _redis(self, directory, number):
        port, home = Port(), directory / f"redis{number + 1}"
        home.mkdir()
        command = ["redis-server", "--port", port.number, "--bind", "127.0.0.1", "--dir", home,
                   "--save", "", "--appendonly", "no", "--maxclients", 9000]
        return self._run(f"redis{number + 1}", command, port, self.other_cpus, directory)

    def _proxy(self, directory, name):
        if name == "direct":
            self.redis[0].name = "direct"
            return self.redis[0]
        port = Port()
        program, args = KINDS[name](directory, port, self.redis, self)
        if not program:
            return None
        cpus = CPUS if self.pinned and name.startswith(PIN_THEMSELVES) else self.proxy_cpus
        proxy = self._run(name, [program, *args], port, cpus, directory)
        proxy.wait_ready()
        for config in (word for word in args if isinstance(word, pathlib.Path)):
            self.configs[config.name] = config.read_text()
        return proxy

    def _run(self, name, command, port, cpus, directory):
        server = Server(name, command, port, cpus, directory / f"{name}.log")
        self._started.append(server)
        return server

    def __exit__(self, *_):
        for server in reversed(self._started):
            server.end()
        os.sched_setaffinity(0, CPUS)
        self._directory.cleanup()


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "not there"
    return ((done.stdout or done.stderr).strip().splitlines() or ["unknown"])[0]


def facts(options):
    """What a reader needs to judge the figures; no names of this machine, no paths."""
    cpus = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
            if line.startswith("model name")] or [platform.machine()]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    commit = first_line("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    dirty = first_line("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    return {
        "cpu": f"{len(cpus)} × {cpus[0]}",
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "commit": commit + (", with changes" if dirty != "unknown" else ""),
        "rounds": options.rounds,
        "versions": {"redis": first_line("redis-server", "--version")},
        "configs": {},
    }


def add_facts(facts, stack):
    """The versions and configurations of a stack."""
    for proxy in stack.proxies:
        if proxy.name in ("nutcracker", "haproxy", "envoy", "corelay", "corelay-other"):
            flag = {"nutcracker": "-V", "haproxy": "-v"}.get(proxy.name, "--version")
            version = first_line(proxy.command[0], flag)
            facts["versions"][proxy.name] = version.replace(proxy.command[0], proxy.name).strip()
    for name, text in stack.configs.items():
        if not stack.pinned:
            facts["configs"][name] = text
        elif name.startswith("corelay"):
            facts["configs"][f"{name}, pinned"] = text
