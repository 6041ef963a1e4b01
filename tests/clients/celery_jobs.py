"""A celery queue through the proxy: jobs, a chord, one that fails at first; each runs once.

    celery_jobs.py --port N            starts a worker, gives it jobs, and looks at what they say
    celery_jobs.py --port N --worker   is the worker

All keys of a queue belong together, for celery takes from several lists with one BRPOP, and moves what
is taken in a transaction: its prefix is a hash tag, as a Redis Cluster needs it, too.
"""

import argparse
import subprocess
import sys

import celery
import redis

JOBS = 300
LIMIT_S = 60

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--worker", action="store_true")
options = parser.parse_args()

url = f"redis://127.0.0.1:{options.port}/0"
app = celery.Celery("jobs", broker=url, backend=url)
prefix = {"global_keyprefix": "{jobs}"}
app.conf.update(broker_transport_options=prefix, result_backend_transport_options=prefix,
                broker_connection_retry_on_startup=True)
store = redis.Redis(port=options.port)


@app.task
def double(number):
    store.hincrby("{jobs}ran", number)
    return number * 2


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=1, default_retry_delay=0.1)
def at_second_try(self):
    if store.incr("{jobs}tries") == 1:
        raise self.retry()
    return "done"


def give():
    results = [double.delay(number) for number in range(JOBS)]
    whole = celery.chord((double.s(number) for number in range(JOBS, JOBS + 10)), total.s())()
    tried = at_second_try.delay()
    found = [result.get(timeout=LIMIT_S) for result in results]
    assert found == [2 * number for number in range(JOBS)], found
    assert whole.get(timeout=LIMIT_S) == sum(2 * number for number in range(JOBS, JOBS + 10))
    assert tried.get(timeout=LIMIT_S) == "done"
    ran = {int(number): int(times) for number, times in store.hgetall("{jobs}ran").items()}
    assert ran == {number: 1 for number in range(JOBS + 10)}, ran
    assert store.llen("{jobs}celery") == 0 and store.hlen("{jobs}unacked") == 0


if options.worker:
    app.worker_main(["worker", "--pool=threads", "--concurrency=4", "--loglevel=WARNING"])
    sys.exit(0)
worker = subprocess.Popen([sys.executable, __file__, "--port", str(options.port), "--worker"])
try:
    give()
    assert app.control.inspect(timeout=LIMIT_S, limit=1).ping(), "the worker hears no broadcast"
finally:
    worker.terminate()
    worker.wait(LIMIT_S)
print("ok")
