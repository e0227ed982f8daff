//! What containers ask for becomes `route`'s table.
//!
//! [`Discovery::run`] ties it together: a snapshot of what runs (`docker`) is read container by
//! container (`read`), what is wanted is held against whose it is ([`claims`]), and a new
//! table is put in force whenever something came of it. While Docker is away the table stays;
//! the tenants of the file need no Docker.

mod clean;
mod judged;
mod label;
mod network;
mod owner;
mod read;
mod rules;
#[cfg(test)]
mod run_tests;
#[cfg(test)]
mod samples;
mod standing;
#[cfg(test)]
mod standing_tests;

pub mod claims;
pub mod listing;
pub mod neighbours;
pub mod watchers;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub use read::{Read, read};
pub use rules::DockerRules;

use crate::{
    clock::Clock,
    config::Config,
    docker::Snapshot,
    route::{Discovered, Plan, RefusedRoute, RouteTable, Routes},
    store::{Store, StoreError, StoreHandle, together},
    telemetry::{
        Metrics,
        audit::{Actor, Event, What},
    },
};
use claims::{Claiming, Verdict};
use judged::{Few, Judged, Recalled};
use standing::{Asking, Standing};
use watchers::Watchers;

/// What there is to know beside the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Whether every engine has been listed once (or there is none): the table is whole.
    pub is_whole: bool,
    /// Whether every engine answers now.
    pub is_connected: bool,
    /// What an operator should know: shared networks, ports that lead around the gateway.
    pub warnings: Vec<String>,
}

/// Everything discovery needs.
#[derive(Debug)]
pub struct Discovery {
    /// The configuration, as it changes.
    pub config: watch::Receiver<Arc<Config>>,
    /// Where claims are kept.
    pub store: StoreHandle,
    /// The time.
    pub clock: Clock,
    /// The table in force.
    pub routes: Arc<Routes>,
    /// Numbers.
    pub metrics: Metrics,
    /// Told when another process changed claims.
    pub claims_changed: Arc<Notify>,
    /// Told beside the table.
    pub findings: Arc<ArcSwap<Findings>>,
    /// Ends it.
    pub over: CancellationToken,
}

/// How soon the store is asked again when it did not answer.
const RETRY: Duration = Duration::from_secs(1);
/// How often it is asked again when it did: names that rest become free.
const ASK_AGAIN: Duration = Duration::from_mins(10);
/// After small changes that took the short way everything goes the whole way once nothing
/// happens for so long ...
const CALM: Duration = Duration::from_secs(2);
/// ... and never later than this after the first of them.
const AT_LATEST: Duration = Duration::from_secs(30);
/// More wants than this are judged in one transaction: a host with thousands of new names is
/// there at once, and its disk is not asked for each.
const MANY: usize = 64;

/// The longest pause between two looks at everything.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// While an engine has more to tell, everything is gone through again only when the engines were
/// heard for as long as the last time took. Without it a host with thousands of containers that
/// is too slow to look at all of them before the first table is made would make one anew for
/// every few of them.
#[derive(Debug)]
struct Rest(Instant);

impl Rest {
    /// There is none.
    fn none() -> Self {
        Self(Instant::now())
    }

    /// What began then is over now. (Part of it may have been a store that did not answer: nobody
    /// waits for long because of that.)
    fn after(began: Instant) -> Self {
        Self(Instant::now() + began.elapsed().min(LONGEST_REST))
    }

    /// How much of it is left, if any.
    fn left(&self) -> Option<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

/// Whether claims may have changed since they were last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// What was judged still holds.
    Holds,
    /// Everything is to be judged again.
    Stale,
}

impl Discovery {
    /// Keeps the table until it is told to stop. Runs on a thread's `LocalSet`.
    pub async fn run(mut self) {
        let mut config = self.config.borrow_and_update().clone();
        let mut watchers = Watchers::start(&config, &self.clock);
        let mut state = State::default();
        let mut memory = Memory::Stale;
        let mut asked_at = Instant::now();
        let mut rest = Rest::none();
        loop {
            let snapshots = watchers.snapshots();
            let is_due = asked_at.elapsed() >= ASK_AGAIN || state.is_overdue();
            let short = memory == Memory::Holds && !is_due;
            let step = if short {
                self.step(&config, &snapshots, &mut state).await
            } else {
                Ok(Step::Whole)
            };
            let is_growing = snapshots.iter().flatten().any(|it| it.growing);
            let done = match (step, rest.left().filter(|_| is_growing)) {
                (Ok(Step::Whole), Some(left)) => Ok(Some(left)),
                (Ok(Step::Whole), None) => {
                    let began = Instant::now();
                    if asked_at.elapsed() >= ASK_AGAIN {
                        memory = Memory::Stale;
                    }
                    let renewed = self.renew(&config, &snapshots, &mut state, memory).await;
                    rest = Rest::after(began);
                    renewed.map(|()| None)
                }
                (Ok(Step::Taken), _) => Ok(None),
                (Err(error), _) => Err(error),
            };
            let patience = match done {
                // Nothing is forgotten: it is only done later.
                Ok(Some(left)) => left,
                Ok(None) => {
                    if memory == Memory::Stale {
                        asked_at = Instant::now();
                    }
                    memory = Memory::Holds;
                    if state.stepped.is_some() {
                        CALM
                    } else {
                        ASK_AGAIN
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "claims cannot be read; nothing new is routed");
                    memory = Memory::Stale;
                    RETRY
                }
            };
            tokio::select! {
                () = self.over.cancelled() => return,
                () = watchers.changed() => (),
                () = self.claims_changed.notified() => memory = Memory::Stale,
                () = tokio::time::sleep(patience) => state.standing = None,
                changed = self.config.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    config = self.config.borrow_and_update().clone();
                    watchers.follow(&config, &self.clock);
                    (memory, rest) = (Memory::Stale, Rest::none());
                }
            }
        }
    }

    /// Puts a small change into the table that stands, if that is all there is.
    async fn step(
        &self,
        config: &Arc<Config>,
        snapshots: &[Option<Snapshot>],
        state: &mut State,
    ) -> Result<Step, StoreError> {
        let (Some(standing), Some(judged)) = (&mut state.standing, &mut state.judged) else {
            return Ok(Step::Whole);
        };
        let Some(change) = standing.change(config, snapshots) else {
            return Ok(Step::Whole);
        };
        if change.is_nothing() {
            standing.took(change);
            return Ok(Step::Taken);
        }
        match judged.recall_few(&change.wants) {
            Few::Granted => (),
            Few::New if !change.takes => {
                let records = standing.claims_near(&change, &judged.claims);
                let (wants, rules) = (change.wants.clone(), DockerRules::of(config));
                let (how, now) = (Claiming::Claim, self.clock.now());
                let judging = self.store.call(move |store| {
                    claims::judge_among(store, records, &[], wants, &rules, how, now)
                });
                let verdict = judging.await?;
                if !verdict.is_plain() {
                    return Ok(Step::Whole);
                }
                judged.learn(verdict);
            }
            Few::New | Few::Refused => return Ok(Step::Whole),
        }
        let Some(table) = standing.amended(&self.routes.load(), &change, &judged.claims) else {
            return Ok(Step::Whole);
        };
        self.count(&table);
        self.routes.swap(table);
        standing.took(change);
        state.made_from.clear();
        state.stepped.get_or_insert_with(Instant::now);
        Ok(Step::Taken)
    }

    /// Makes the table anew, and puts it in force if it is another one.
    async fn renew(
        &self,
        config: &Arc<Config>,
        snapshots: &[Option<Snapshot>],
        state: &mut State,
        memory: Memory,
    ) -> Result<(), StoreError> {
        let is_connected = snapshots
            .iter()
            .all(|it| it.as_ref().is_some_and(|it| it.connected));
        let is_followed = is_connected && !snapshots.is_empty();
        self.metrics.discovery_connected.set(i64::from(is_followed));
        (state.standing, state.stepped) = (None, None);
        let rules = DockerRules::of(config);
        let All {
            wants: found,
            refused,
            asking,
        } = read_all(snapshots, &rules);
        let mut warnings = neighbours::warnings(snapshots, &found, &rules);
        let found = claims::oldest_first(found);
        // What went away goes at once, and what was judged before needs no store.
        let mut whole = None;
        if let Some(judged) = &state.judged {
            let (verdict, recalled) = judged.recall(found.clone());
            if memory == Memory::Holds && recalled == Recalled::All {
                whole = Some(verdict);
            } else {
                let config = judged.config.clone();
                self.put(&config, verdict, &refused, state);
            }
        }
        let verdict = match whole {
            Some(verdict) => verdict,
            None => self.ask(config, found, rules, state).await?,
        };
        warnings.extend(verdict.warnings.iter().cloned());
        let claims_refused: Vec<RefusedRoute> =
            verdict.refused.iter().map(|(_, no)| no.clone()).collect();
        let news = state.complain(&refused, &claims_refused, &warnings);
        self.tell_refused_claims(news).await?;
        self.put(config, verdict, &refused, state);
        if let Some(judged) = &state.judged {
            let refused = &self.routes.load().refused;
            state.standing = Standing::new(config, snapshots, asking, refused, &judged.claims);
        }
        self.findings.store(Arc::new(Findings {
            is_whole: snapshots.iter().all(Option::is_some),
            is_connected,
            warnings,
        }));
        Ok(())
    }

    async fn ask(
        &self,
        config: &Arc<Config>,
        found: Vec<Discovered>,
        rules: DockerRules,
        state: &mut State,
    ) -> Result<Verdict, StoreError> {
        let file = claims::file_hosts(config);
        let now = self.clock.now();
        let judging = self.store.call(move |store| {
            let is_long = found.len() > MANY;
            let judge = |store: &mut dyn Store| {
                claims::judge(store, &file, found, &rules, Claiming::Claim, now)
            };
            if is_long {
                together(store, "judge_claims", judge)
            } else {
                judge(store)
            }
        });
        let verdict = judging.await?;
        state.judged = Some(Judged::new(config.clone(), &verdict));
        Ok(verdict)
    }

    /// Writes down who asked for a name that is another's.
    async fn tell_refused_claims(&self, news: Vec<RefusedRoute>) -> Result<(), StoreError> {
        if news.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        self.store
            .call(move |store| {
                together(store, "tell_refused_claims", |store| {
                    news.iter().try_for_each(|it| {
                        let event = Event::new(What::ClaimRefused, now, Actor::gateway())
                            .with("container", &it.container)
                            .with("host", &it.asked)
                            .with("why", &it.reason);
                        store.append_audit(&event)
                    })
                })
            })
            .await
    }

    fn put(
        &self,
        config: &Arc<Config>,
        verdict: Verdict,
        refused: &[RefusedRoute],
        state: &mut State,
    ) {
        let claims: BTreeMap<_, _> = verdict.claims.0.iter().collect();
        let (granted, not) = (&verdict.granted, &verdict.refused);
        let made_from = format!("{granted:?} {not:?} {claims:?} {refused:?}");
        let is_same_config = state
            .config
            .as_ref()
            .is_some_and(|it| Arc::ptr_eq(it, config));
        if is_same_config && state.made_from == made_from {
            return;
        }
        let table = build(config, verdict, refused.to_vec());
        self.count(&table);
        self.routes.swap(table);
        state.made_from = made_from;
        state.config = Some(config.clone());
    }

    fn count(&self, table: &RouteTable) {
        let hosts =
            table.exact.len() + table.leading.len() + table.trailing.len() + table.regexes.len();
        let containers: HashSet<&str> = table
            .refused
            .iter()
            .map(|it| it.container.as_str())
            .collect();
        let count = |it: usize| i64::try_from(it).unwrap_or(i64::MAX);
        self.metrics.routes.set(count(hosts));
        self.metrics.refused_containers.set(count(containers.len()));
    }
}

/// What all containers ask for.
#[derive(Default)]
struct All {
    wants: Vec<Discovered>,
    refused: Vec<RefusedRoute>,
    asking: Asking,
}

/// Reads every container of every engine.
fn read_all(snapshots: &[Option<Snapshot>], rules: &DockerRules) -> All {
    let mut all = All::default();
    for (engine, snapshot) in snapshots.iter().enumerate() {
        for (snapshot, container) in snapshot
            .iter()
            .flat_map(|it| it.containers.values().map(move |container| (it, container)))
        {
            let read = read(container, &snapshot.gateway, rules);
            for want in &read.wants {
                standing::note(&mut all.asking, want, engine, container);
            }
            all.wants.extend(read.wants);
            all.refused.extend(read.refused);
        }
    }
    all
}

fn build(config: &Config, verdict: Verdict, refused: Vec<RefusedRoute>) -> RouteTable {
    let mut table = RouteTable::build(Plan {
        config,
        found: verdict.granted,
        claims: &verdict.claims,
    });
    let no = verdict.refused.into_iter().map(|(_, no)| no);
    table.refused.extend(no);
    table.refused.extend(refused);
    table
}

/// Makes a table once, for the command line: what a gateway with this configuration would
/// serve now. Changes nothing in the store.
pub async fn survey(
    config: &Config,
    store: &StoreHandle,
    clock: &Clock,
) -> Result<(RouteTable, Findings), SurveyError> {
    let mut snapshots = Vec::new();
    for source in watchers::sources(config) {
        snapshots.push(Some(crate::docker::survey(&source).await?));
    }
    let rules = DockerRules::of(config);
    let All {
        wants: found,
        refused,
        ..
    } = read_all(&snapshots, &rules);
    let mut warnings = neighbours::warnings(&snapshots, &found, &rules);
    let (file, now) = (claims::file_hosts(config), clock.now());
    let verdict = store
        .call(move |store| claims::judge(store, &file, found, &rules, Claiming::Look, now))
        .await?;
    warnings.extend(verdict.warnings.iter().cloned());
    let findings = Findings {
        is_whole: true,
        is_connected: true,
        warnings,
    };
    Ok((build(config, verdict, refused), findings))
}

/// Why a survey came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// Docker.
    #[error(transparent)]
    Docker(#[from] crate::docker::EngineError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was done already.
#[derive(Debug, Default)]
struct State {
    judged: Option<Judged>,
    /// What the table in force was made from.
    made_from: String,
    config: Option<Arc<Config>>,
    complaints: HashSet<String>,
    /// What the table stands on, for the next small change.
    standing: Option<Standing>,
    /// When the first small change was put in since everything was looked at.
    stepped: Option<Instant>,
}

/// How far a small change came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is in force.
    Taken,
    /// Nothing is done: everything is to be looked at.
    Whole,
}

/// Log lines about one container; the rest stands in `portcullis routes`.
const MOST_LINES: usize = 8;

impl State {
    fn is_overdue(&self) -> bool {
        self.stepped.is_some_and(|it| it.elapsed() >= AT_LATEST)
    }

    /// Logs what is new among the complaints, once. Gives the claims among them.
    fn complain(
        &mut self,
        one: &[RefusedRoute],
        claims: &[RefusedRoute],
        warnings: &[String],
    ) -> Vec<RefusedRoute> {
        let is_new = |it: &&RefusedRoute| !self.complaints.contains(&complaint(it));
        let news = claims.iter().filter(is_new).take(MOST_LINES).cloned();
        let news = news.collect();
        let mut now = HashSet::new();
        let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
        for it in one.iter().chain(claims) {
            let key = complaint(it);
            if !self.complaints.contains(&key) {
                let line = lines.entry(&it.container).or_default();
                *line += 1;
                if *line <= MOST_LINES {
                    let (container, asked, reason) = (&it.container, &it.asked, &it.reason);
                    tracing::warn!(container, asked, reason, "refused of a container");
                }
            }
            now.insert(key);
        }
        for warning in warnings {
            if !self.complaints.contains(warning) {
                tracing::warn!("{warning}");
            }
            now.insert(warning.clone());
        }
        self.complaints = now;
        news
    }
}

fn complaint(it: &RefusedRoute) -> String {
    format!("{} {} {}", it.container, it.asked, it.reason)
}
