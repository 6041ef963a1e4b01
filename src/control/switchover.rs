//! A planned switchover: a shard's primary changes places with a replica, and no client hears an error.
//!
//! ```text
//!  pause ─▶ every core is quiet ─▶ CLIENT PAUSE WRITE ─▶ replicas have all ─▶ SENTINEL FAILOVER ─▶ verified ─▶ go on
//!    └───────────────── until here: given up, everything is as it was ─────┘
//! ```
//!
//! Requests for the shard are held by the cores from the pause on, as in any failover, within `hold_ms`;
//! what is not over in time is given up as long as that is possible. Who writes past this proxy is held
//! by redis itself (CLIENT PAUSE). The sentinels choose the replica, and the watcher verifies it: this
//! only asks, and waits. It must never leave a shard paused.
//!
//! One at a time, on the admin port's thread; nobody who merely looks can stop it half-way.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::sync::ShardedLock;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::admin_client;
use super::publisher::Publisher;
use super::sentinel::ask;
use super::state::ControlState;
use crate::base::ids::{PoolId, ShardId};
use crate::base::limits::SWITCHOVER_HOLD_MIN_MS;
use crate::config::model::{Credentials, SentinelConfig};
use crate::topology::NodeEndpoint;

/// Pause between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// A server or sentinel answers within this time.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// The switchovers of this process: the one under way, or the last.
pub struct Switchovers {
    state: Arc<ControlState>,
    publisher: Arc<Publisher>,
    last: ShardedLock<Option<Progress>>,
}

#[derive(Clone, Debug)]
struct Progress {
    pool: String,
    shard: String,
    started: Instant,
    /// When, in ms since the start, and what.
    steps: Vec<(u128, String)>,
    outcome: Option<Result<String, String>>,
}

/// What is switched over, and by whom.
struct Plan {
    pool: PoolId,
    shard: ShardId,
    master: String,
    sentinels: SentinelConfig,
    backend: Option<Credentials>,
    from: SocketAddr,
    verified: u64,
    /// How long clients may be held.
    hold: Duration,
}

impl Switchovers {
    pub fn new(state: Arc<ControlState>, publisher: Arc<Publisher>) -> Arc<Switchovers> {
        Arc::new(Switchovers { state, publisher, last: ShardedLock::new(None) })
    }

    /// Begins, on the runtime of the caller.
    ///
    /// # Errors
    /// Why it can not: nothing has been done then.
    pub(super) fn begin(self: &Arc<Self>, pool: Option<&str>, shard: &str) -> Result<(), String> {
        let plan = self.plan(pool, shard)?;
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|last| last.outcome.is_none()) {
            return Err("another switchover is under way".to_owned());
        }
        let config = self.state.config();
        let config = config.pools.get(plan.pool.index());
        *last = Some(Progress {
            pool: config.map_or_else(String::new, |pool| pool.name.clone()),
            shard: plan.master.clone(),
            started: now(),
            steps: Vec::new(),
            outcome: None,
        });
        drop(last);
        let this = self.clone();
        tokio::spawn(async move { this.run(plan).await });
        Ok(())
    }

    /// The one under way, or the last.
    pub(super) fn show(&self) -> Value {
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = last.as_ref() else { return json!({ "state": "none" }) };
        let steps = last.steps.iter().map(|(ms, what)| json!({ "ms": ms, "what": what }));
        let (state, text) = match &last.outcome {
            None => ("running", ""),
            Some(Ok(text)) => ("done", text.as_str()),
            Some(Err(text)) => ("failed", text.as_str()),
        };
        json!({
            "pool": last.pool,
            "shard": last.shard,
            "state": state,
            "text": text,
            "steps": steps.collect::<Vec<_>>(),
        })
    }

    fn plan(&self, pool: Option<&str>, shard: &str) -> Result<Plan, String> {
        let topology = self.publisher.current();
        let pools = || topology.config.pools.iter().enumerate();
        let wanted = pools().filter(|(_, config)| pool.is_none_or(|name| config.name == name));
        let mut found = wanted.filter_map(|(index, config)| {
            let number = config.shards.iter().position(|it| it.name == shard)?;
            Some((PoolId(index as u16), ShardId(number as u16), config))
        });
        let Some((id, number, config)) = found.next() else {
            return Err(format!("there is no shard {shard}; /topology lists those that there are"));
        };
        if found.next().is_some() {
            return Err(format!("several pools have a shard {shard}: name the pool"));
        }
        let Some(sentinels) = config.sentinel.clone() else {
            let name = &config.name;
            return Err(format!(
                "pool {name} has fixed addresses: sentinels have to do the change"
            ));
        };
        if config.hold_ms < SWITCHOVER_HOLD_MIN_MS {
            let (name, hold_ms) = (&config.name, config.hold_ms);
            return Err(format!(
                "hold_ms of pool {name} is {hold_ms}: a switchover takes up to {SWITCHOVER_HOLD_MIN_MS}"
            ));
        }
        let known = topology.shard(id, number);
        let Some((NodeEndpoint::Tcp(from), verified)) =
            known.and_then(|known| Some((known.primary.clone()?, known.verified)))
        else {
            return Err(format!("shard {shard} has no verified primary now"));
        };
        Ok(Plan {
            pool: id,
            shard: number,
            master: shard.to_owned(),
            sentinels,
            backend: config.backend_auth.clone(),
            from,
            verified,
            hold: Duration::from_millis(config.hold_ms),
        })
    }

    async fn run(self: Arc<Self>, plan: Plan) {
        let paused = now();
        let outcome = self.carry_out(&plan).await;
        self.set_paused(&plan, false);
        let held_ms = paused.elapsed().as_millis();
        // It ends by itself, too; who writes past this proxy need not wait for that.
        let unpause: &[&[u8]] = &[b"CLIENT", b"UNPAUSE"];
        let _ = ask::node(plan.from, plan.backend.as_ref(), unpause, ANSWER_MAX).await;
        let outcome = match outcome {
            Ok(to) => {
                Ok(format!("{} -> {to}, requests were held for at most {held_ms} ms", plan.from))
            }
            Err(why) => Err(why),
        };
        let fields: [crate::log::Field<'_>; 3] = [
            ("shard", &plan.master),
            ("held_ms", &held_ms),
            ("result", outcome.as_ref().unwrap_or_else(|why| why)),
        ];
        match &outcome {
            Ok(_) => self.state.log.info("switchover done", &fields),
            Err(_) => self.state.log.warn("switchover failed", &fields),
        }
        if let Some(last) = self.last.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            last.outcome = Some(outcome);
        }
    }

    /// All steps; gives the new primary. Whoever calls takes the pause back.
    async fn carry_out(&self, plan: &Plan) -> Result<SocketAddr, String> {
        let Plan { sentinels, master, from, .. } = plan;
        let sentinel = ask::sentinel_that_names(sentinels, master, *from, ANSWER_MAX).await?;
        let replicas = self.replicas(plan).await?;
        self.step(format!("{from} is the primary, connected to it: {}", words_of(&replicas)));
        let begun = now();
        // Half of the time for what can be taken back, half for the sentinels.
        let give_up = begun + plan.hold / 2;
        let epoch = self.set_paused(plan, true).ok_or("the shard is paused already")?;
        self.wait_quiet(plan, epoch, give_up).await?;
        self.step("requests are held, what was under way is answered".to_owned());
        let pause_ms = plan.hold.as_millis().to_string();
        let pause: &[&[u8]] = &[b"CLIENT", b"PAUSE", pause_ms.as_bytes(), b"WRITE"];
        ask::node(plan.from, plan.backend.as_ref(), pause, ANSWER_MAX)
            .await
            .map_err(|why| format!("CLIENT PAUSE on {}: {why}; nothing has changed", plan.from))?;
        self.wait_in_sync(plan, &replicas, give_up).await?;
        self.step("writes are paused, the replicas have all".to_owned());
        let failover: &[&[u8]] = &[b"SENTINEL", b"FAILOVER", plan.master.as_bytes()];
        let credentials = plan.sentinels.credentials.as_ref();
        ask::node(sentinel, credentials, failover, ANSWER_MAX).await.map_err(|why| {
            format!("SENTINEL FAILOVER at {sentinel}: {why}; nothing has changed")
        })?;
        self.step(format!("sentinel {sentinel} fails over"));
        let to = self.wait_moved(plan, begun + plan.hold).await?;
        self.step(format!("{to} is verified as the primary"));
        Ok(to)
    }

    fn step(&self, what: String) {
        if let Some(last) = self.last.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            let ms = last.started.elapsed().as_millis();
            self.state
                .log
                .info("switchover", &[("shard", &last.shard), ("ms", &ms), ("step", &what)]);
            last.steps.push((ms, what));
        }
    }

    /// The epoch from which on it is so; `None`: it was so already.
    fn set_paused(&self, plan: &Plan, paused: bool) -> Option<u64> {
        self.publisher.change_shard(plan.pool, plan.shard, |shard| shard.paused = paused)
    }

    /// Those that are connected.
    async fn replicas(&self, plan: &Plan) -> Result<Vec<SocketAddr>, String> {
        let seen = ask::replication(plan.from, plan.backend.as_ref(), ANSWER_MAX).await;
        let seen = seen.map_err(|why| format!("INFO of {}: {why}", plan.from))?;
        if !seen.is_master {
            return Err(format!("{} is no primary by its own account", plan.from));
        }
        let replicas = seen.replicas(ANSWER_MAX).await?;
        match replicas.is_empty() {
            true => Err(format!("{} has no replica that is connected", plan.from)),
            false => Ok(replicas),
        }
    }

    /// Every core has published that nothing of the shard is on its way.
    async fn wait_quiet(&self, plan: &Plan, epoch: u64, give_up: Instant) -> Result<(), String> {
        let quiet = || {
            let mut cores = self.state.cores.iter();
            cores.all(|core| core.quiet_epoch(plan.pool, plan.shard).get() >= epoch)
        };
        while !quiet() {
            if now() >= give_up {
                return Err(
                    "requests under way were not answered in time; nothing has changed".to_owned()
                );
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Every replica has applied what the primary has written.
    async fn wait_in_sync(
        &self,
        plan: &Plan,
        replicas: &[SocketAddr],
        give_up: Instant,
    ) -> Result<(), String> {
        let backend = plan.backend.as_ref();
        let written = ask::replication(plan.from, backend, ANSWER_MAX).await;
        let written = written.map_err(|why| format!("INFO of {}: {why}", plan.from))?.offset;
        for replica in replicas {
            loop {
                let asked = match ask::replication(*replica, backend, ANSWER_MAX).await {
                    Ok(seen) if seen.offset >= written => break,
                    Ok(seen) => format!("is {} bytes behind", written - seen.offset),
                    Err(why) => why,
                };
                if now() >= give_up {
                    return Err(format!("replica {replica}: {asked}; nothing has changed"));
                }
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// The watcher has published another primary.
    async fn wait_moved(&self, plan: &Plan, deadline: Instant) -> Result<SocketAddr, String> {
        while now() < deadline {
            let topology = self.publisher.current();
            if let Some(shard) = topology.shard(plan.pool, plan.shard)
                && let Some(NodeEndpoint::Tcp(to)) = shard.primary
                && shard.verified > plan.verified
                && to != plan.from
            {
                return Ok(to);
            }
            sleep(LOOK_EVERY).await;
        }
        Err("the sentinels were asked to fail over, but no other primary is verified yet; the watcher \
             goes on looking, /topology and the sentinels' logs tell more"
            .to_owned())
    }
}

fn words_of(replicas: &[SocketAddr]) -> String {
    replicas.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What `corelay switchover` does: asks the admin port at `admin`, and tells each step as it comes.
///
/// # Errors
/// Why it did not come about.
pub fn ask_for(
    admin: SocketAddr,
    pool: Option<&str>,
    shard: &str,
    tell: impl Fn(&str),
) -> Result<String, String> {
    let wish = json!({ "pool": pool, "shard": shard }).to_string();
    admin_client::post(admin, PATH, wish, ANSWER_MAX)
        .map_err(|why| format!("admin port {admin}: {why}"))?;
    let mut told = 0;
    loop {
        std::thread::park_timeout(LOOK_FROM_OUTSIDE_EVERY);
        let page = admin_client::get(admin, PATH, ANSWER_MAX)
            .map_err(|why| format!("admin port {admin}: {why}; the switchover may go on"))?;
        let page: Shown = serde_json::from_str(&page).map_err(|error| {
            format!("admin port {admin}: its answer is not understood: {error}")
        })?;
        for step in page.steps.iter().skip(told) {
            tell(&format!("{:6} ms  {}", step.ms, step.what));
        }
        told = page.steps.len();
        match page.state.as_str() {
            "running" => {}
            "done" => return Ok(page.text),
            _ => return Err(page.text),
        }
    }
}

const PATH: &str = "/switchover";
const LOOK_FROM_OUTSIDE_EVERY: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
struct Shown {
    state: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    steps: Vec<ShownStep>,
}

#[derive(Deserialize)]
struct ShownStep {
    ms: u64,
    what: String,
}

#[expect(clippy::disallowed_methods, reason = "the control plane reads the clock")]
fn now() -> Instant {
    Instant::now()
}

impl fmt::Debug for Switchovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switchovers").field("last", &self.last).finish_non_exhaustive()
    }
}
