// A bullmq queue through the proxy: jobs, some later, some with a priority, one that fails at first;
// each runs once, and its events are heard.
//
//     bullmq_jobs.mjs --port N
//
// All keys of a queue belong together, for its scripts use many of them at once: the prefix is a hash
// tag, as a Redis Cluster needs it, too.

import assert from "node:assert";
import { parseArgs } from "node:util";
import { Queue, QueueEvents, Worker } from "bullmq";

const JOBS = 300;
const LIMIT_MS = 60_000;
const { values } = parseArgs({ options: { port: { type: "string" } } });
const options = {
  connection: { host: "127.0.0.1", port: Number(values.port), maxRetriesPerRequest: null },
  prefix: "{bull}",
};

const ran = new Map();
const queue = new Queue("jobs", options);
queue.setMaxListeners(0); // each job that is waited for adds one
const events = new QueueEvents("jobs", options);
const completed = new Set();
events.on("completed", ({ jobId }) => completed.add(jobId));
await events.waitUntilReady();

const worker = new Worker(
  "jobs",
  async (job) => {
    ran.set(job.id, (ran.get(job.id) ?? 0) + 1);
    await job.updateProgress(50);
    if (job.name === "at-second-try" && job.attemptsMade === 0) throw new Error("not yet");
    return job.data.number * 2;
  },
  { ...options, concurrency: 10 },
);
worker.on("error", (error) => console.error("worker:", error));

const given = Array.from({ length: JOBS }, (_, number) => ({
  name: "double",
  data: { number },
  opts: number % 10 === 0 ? { delay: 100 } : number % 10 === 1 ? { priority: 1 + (number % 7) } : {},
}));
const jobs = await queue.addBulk(given);
jobs.push(await queue.add("at-second-try", { number: JOBS }, { attempts: 2, backoff: 50 }));
const said = await Promise.all(jobs.map((job) => job.waitUntilFinished(events, LIMIT_MS)));
assert.deepStrictEqual(said, Array.from({ length: JOBS + 1 }, (_, number) => number * 2));
for (const job of jobs) {
  assert.strictEqual(ran.get(job.id), job.name === "double" ? 1 : 2, `job ${job.id}`);
  assert(completed.has(job.id), `job ${job.id} without an event`);
}
const counts = await queue.getJobCounts();
assert.strictEqual(counts.completed, JOBS + 1);
assert.strictEqual(counts.active + counts.waiting + counts.delayed + counts.failed, 0);

await worker.close();
await events.close();
await queue.close();
console.log("ok");
