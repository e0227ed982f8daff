//! The roll of containers: what is known of each, and who must be looked at again. No I/O;
//! `watch` carries words between it and the engine.
//!
//! Every word about a container raises its turn, and an answer to a question that was asked in
//! an earlier turn is thrown away: an inspection that was on its way while its container died
//! cannot bring the dead back.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use bollard::models::ContainerSummary;

use super::{
    container::{Container, Health},
    engine::Looked,
    event::{Event, Kind},
    watch::Running,
};

/// How urgently the news must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum News {
    /// There is none.
    None,
    /// Something more, or different.
    More,
    /// An address that must not be used any more.
    Less,
}

/// What is known of the engine's containers.
#[derive(Debug, Default)]
pub(super) struct Roll {
    known: HashMap<String, Entry>,
    /// Who is to be looked at, in the order asked.
    waiting: VecDeque<String>,
    turn: u64,
    news: Option<News>,
    wants_list: bool,
    /// Whether the operator narrowed the list: then an unknown container that an event names
    /// may be none of ours, and only a list can tell.
    filtered: bool,
    /// Everybody who was told last.
    told: Running,
    /// When those were made, by id.
    made: HashMap<String, jiff::Timestamp>,
    /// Whose container is another since.
    touched: HashSet<String>,
}

#[derive(Debug, Default)]
struct Entry {
    turn: u64,
    asked: Asked,
    container: Option<Arc<Container>>,
    /// What the list said when it was last looked at.
    sketch: Option<Sketch>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Asked {
    #[default]
    Nothing,
    Waiting,
    /// Since this turn.
    InTurn(u64),
}

/// What a list tells of a container, apart from what changes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sketch {
    names: Vec<String>,
    addresses: BTreeMap<String, String>,
    health: &'static str,
}

impl Sketch {
    fn of(summary: &ContainerSummary) -> Self {
        let settings = summary.network_settings.as_ref();
        let networks = settings.and_then(|it| it.networks.as_ref());
        let address = |it: &bollard::models::EndpointSettings| {
            let v4 = it.ip_address.as_deref().unwrap_or_default();
            let v6 = it.global_ipv6_address.as_deref().unwrap_or_default();
            format!("{v4} {v6}")
        };
        let status = summary.status.as_deref().unwrap_or_default();
        let words = ["(healthy)", "(unhealthy)", "(health: starting)", "(Paused)"];
        Self {
            names: summary.names.clone().unwrap_or_default(),
            addresses: networks
                .into_iter()
                .flatten()
                .map(|(name, endpoint)| (name.clone(), address(endpoint)))
                .collect(),
            health: words
                .into_iter()
                .find(|it| status.contains(it))
                .unwrap_or_default(),
        }
    }
}

impl Roll {
    /// An empty roll.
    pub(super) fn new(filtered: bool) -> Self {
        Self {
            filtered,
            ..Self::default()
        }
    }

    /// The turn now: a list that is asked for in it knows nothing of later ones.
    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    /// Takes in an event.
    pub(super) fn hear(&mut self, event: Event) {
        match event.kind {
            Kind::Down(id) => self.down(&id, event.at_nanos),
            Kind::Changed(id) => self.look_at(id),
            Kind::Health(id, health) => {
                self.amend(&id, |container| container.health = health);
                self.look_at(id);
            }
            Kind::Detached(id, network) => {
                self.amend(&id, |container| {
                    container.networks.retain(|it| it.network != network);
                });
                // One that is down has nothing to be looked at.
                if self.known.contains_key(&id) {
                    self.look_at(id);
                }
            }
            Kind::NetworkGone => self.wants_list = true,
        }
    }

    fn down(&mut self, id: &str, at_nanos: i64) {
        let Some(entry) = self.known.get_mut(id) else {
            return;
        };
        // An engine tells what it told before when it is asked for the past again.
        let started = entry
            .container
            .as_ref()
            .map(|it| it.started.as_nanosecond());
        if started.is_some_and(|it| i128::from(at_nanos) < it) {
            return;
        }
        if entry.container.is_some() {
            self.news = self.news.max(Some(News::Less));
            self.touched.insert(id.to_owned());
        }
        if entry.asked == Asked::Nothing {
            self.known.remove(id);
        } else {
            // Somebody asked, perhaps because it came up again: the answer will tell.
            entry.container = None;
            self.look_at(id.to_owned());
        }
    }

    /// Changes what is known at once, ahead of the inspection.
    fn amend(&mut self, id: &str, change: impl FnOnce(&mut Container)) {
        let Some(entry) = self.known.get_mut(id) else {
            return;
        };
        if let Some(known) = &entry.container {
            let mut amended = Container::clone(known);
            change(&mut amended);
            if amended != **known {
                let less = amended.networks.len() < known.networks.len()
                    || amended.health == Health::Unhealthy;
                let news = if less { News::Less } else { News::More };
                self.news = self.news.max(Some(news));
                entry.container = Some(Arc::new(amended));
                self.touched.insert(id.to_owned());
            }
        }
    }

    fn look_at(&mut self, id: String) {
        if self.filtered && !self.known.contains_key(&id) {
            self.wants_list = true;
            return;
        }
        self.turn += 1;
        let entry = self.known.entry(id.clone()).or_default();
        entry.turn = self.turn;
        if entry.asked == Asked::Nothing {
            entry.asked = Asked::Waiting;
            self.waiting.push_back(id);
        }
    }

    /// Takes in a list that was asked for in `turn`.
    pub(super) fn listed(&mut self, summaries: &[ContainerSummary], turn: u64) {
        let mut there: HashMap<&str, Sketch> = HashMap::new();
        for summary in summaries {
            if let Some(id) = summary.id.as_deref() {
                there.insert(id, Sketch::of(summary));
            }
        }
        let before = self.known.len();
        let mut lost = false;
        self.known.retain(|id, entry| {
            let stays = there.contains_key(id.as_str()) || entry.turn > turn;
            if !stays && entry.container.is_some() {
                lost = true;
                self.touched.insert(id.clone());
            }
            stays
        });
        if self.known.len() < before {
            let known = &self.known;
            self.waiting.retain(|id| known.contains_key(id));
        }
        if lost {
            self.news = self.news.max(Some(News::Less));
        }
        for (id, sketch) in there {
            let entry = self.known.entry(id.to_owned()).or_default();
            if entry.container.is_none() || entry.sketch.as_ref() != Some(&sketch) {
                entry.sketch = Some(sketch);
                self.turn += 1;
                entry.turn = self.turn;
                if entry.asked == Asked::Nothing {
                    entry.asked = Asked::Waiting;
                    self.waiting.push_back(id.to_owned());
                }
            }
        }
    }

    /// Who is to be looked at next, and the turn in which it is asked.
    pub(super) fn next(&mut self) -> Option<(String, u64)> {
        while let Some(id) = self.waiting.pop_front() {
            if let Some(entry) = self.known.get_mut(&id) {
                entry.asked = Asked::InTurn(entry.turn);
                return Some((id, entry.turn));
            }
        }
        None
    }

    /// Takes in what was seen of a container that was asked about in `turn`.
    pub(super) fn looked(&mut self, id: &str, turn: u64, looked: Looked) {
        let Some(entry) = self.known.get_mut(id) else {
            return;
        };
        if entry.asked != Asked::InTurn(turn) {
            return;
        }
        entry.asked = Asked::Nothing;
        if entry.turn != turn {
            entry.asked = Asked::Waiting;
            self.waiting.push_back(id.to_owned());
            return;
        }
        match looked {
            Looked::Up(container) => {
                if !container.is_certain() {
                    // Perhaps the image can be inspected next time.
                    entry.sketch = None;
                }
                if entry.container.as_deref() != Some(&container) {
                    entry.container = Some(Arc::new(*container));
                    self.news = self.news.max(Some(News::More));
                    self.touched.insert(id.to_owned());
                }
            }
            Looked::Down => {
                if entry.container.is_some() {
                    self.news = self.news.max(Some(News::Less));
                    self.touched.insert(id.to_owned());
                }
                self.known.remove(id);
            }
            Looked::Unclear(why) => {
                tracing::warn!(container = id, why, "a container cannot be inspected");
                // The next list asks again.
                entry.sketch = None;
            }
        }
    }

    /// Forgets the questions that went down with a connection; the next list asks again.
    pub(super) fn disconnected(&mut self) {
        self.waiting.clear();
        for entry in self.known.values_mut() {
            if entry.asked != Asked::Nothing {
                entry.asked = Asked::Nothing;
                entry.sketch = None;
            }
        }
    }

    /// Whether a list is wanted out of turn. Asking resets it.
    pub(super) fn take_wish_for_list(&mut self) -> bool {
        std::mem::take(&mut self.wants_list)
    }

    /// Makes news of what is known.
    pub(super) fn announce(&mut self) {
        self.news = self.news.max(Some(News::More));
    }

    /// Whether there is news.
    pub(super) fn news(&self) -> News {
        self.news.unwrap_or(News::None)
    }

    /// Whether nobody waits to be looked at.
    pub(super) fn is_settled(&self) -> bool {
        self.known.values().all(|it| it.asked == Asked::Nothing)
    }

    /// Everybody known to run, the oldest first. There is no news afterwards.
    pub(super) fn tell(&mut self) -> Running {
        self.news = None;
        for id in self.touched.drain() {
            let mut key = (jiff::Timestamp::default(), id);
            if let Some(made) = self.made.remove(&key.1) {
                key.0 = made;
                self.told.remove(&key);
            }
            let entry = self.known.get(&key.1);
            if let Some(container) = entry.and_then(|it| it.container.clone()) {
                self.made.insert(key.1.clone(), container.created);
                self.told.insert((container.created, key.1), container);
            }
        }
        self.told.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::Attached;

    const START: i64 = 1_800_000_000_000_000_000;

    fn up(name: &str) -> Looked {
        let at = jiff::Timestamp::from_nanosecond(i128::from(START)).unwrap();
        Looked::Up(Box::new(Container {
            id: name.to_owned(),
            name: name.to_owned(),
            created: at,
            started: at,
            env: BTreeMap::new(),
            labels: BTreeMap::new(),
            ports: std::collections::BTreeSet::new(),
            networks: vec![Attached {
                name: "net-a".to_owned(),
                network: "n1".to_owned(),
                v4: "172.20.0.2".parse().ok(),
                v6: None,
                gateway: None,
            }],
            on_host: false,
            health: Health::Healthy,
        }))
    }

    fn summary(id: &str) -> ContainerSummary {
        ContainerSummary {
            id: Some(id.to_owned()),
            ..ContainerSummary::default()
        }
    }

    fn hear(roll: &mut Roll, after: i64, kind: Kind) {
        roll.hear(Event {
            at_nanos: START + after,
            kind,
        });
    }

    fn changed(roll: &mut Roll, id: &str) {
        hear(roll, 1, Kind::Changed(id.to_owned()));
    }

    fn first(roll: &mut Roll) -> Arc<Container> {
        roll.tell().values().next().unwrap().clone()
    }

    /// A roll with one running container, told.
    fn with_r1() -> Roll {
        let mut roll = Roll::new(false);
        changed(&mut roll, "r1");
        let (id, turn) = roll.next().unwrap();
        roll.looked(&id, turn, up("r1"));
        assert_eq!(roll.tell().len(), 1);
        roll
    }

    #[test]
    fn d6_an_inspection_on_its_way_does_not_bring_the_dead_back() {
        let mut roll = with_r1();
        changed(&mut roll, "r1");
        let (id, turn) = roll.next().unwrap();
        hear(&mut roll, 2, Kind::Down("r1".to_owned()));
        assert_eq!(roll.news(), News::Less);
        assert!(roll.tell().is_empty());
        roll.looked(&id, turn, up("r1"));
        assert!(roll.tell().is_empty(), "that answer was of before");
        let (id, turn) = roll.next().expect("it is asked again");
        roll.looked(&id, turn, Looked::Down);
        assert!(roll.tell().is_empty() && roll.next().is_none());
    }

    #[test]
    fn d6_a_restart_is_a_death_and_a_start() {
        let mut roll = with_r1();
        hear(&mut roll, 2, Kind::Down("r1".to_owned()));
        assert!(roll.tell().is_empty());
        changed(&mut roll, "r1");
        let (id, turn) = roll.next().unwrap();
        roll.looked(&id, turn, up("r1"));
        assert_eq!(roll.tell().len(), 1);
    }

    #[test]
    fn an_event_of_an_earlier_run_ends_nothing() {
        let mut roll = with_r1();
        hear(&mut roll, -1, Kind::Down("r1".to_owned()));
        assert_eq!(roll.news(), News::None);
        assert_eq!(roll.tell().len(), 1);
    }

    #[test]
    fn a_lost_address_is_not_used_until_the_inspection() {
        let mut roll = with_r1();
        let lost = Kind::Detached("r1".to_owned(), "n1".to_owned());
        hear(&mut roll, 2, lost);
        assert_eq!(roll.news(), News::Less);
        assert!(first(&mut roll).networks.is_empty());
        assert!(roll.next().is_some());
    }

    #[test]
    fn the_word_of_a_health_check_counts_at_once() {
        let mut roll = with_r1();
        let sick = Kind::Health("r1".to_owned(), Health::Unhealthy);
        hear(&mut roll, 2, sick);
        assert_eq!(first(&mut roll).health, Health::Unhealthy);
    }

    #[test]
    fn a_list_knows_nothing_of_what_happened_after_it_was_asked_for() {
        let mut roll = with_r1();
        let asked_in = roll.turn();
        changed(&mut roll, "r2");
        roll.listed(&[summary("r1")], asked_in);
        let waiting: Vec<String> = std::iter::from_fn(|| roll.next()).map(|it| it.0).collect();
        assert!(waiting.contains(&"r2".to_owned()));
    }

    #[test]
    fn a_list_ends_who_is_not_on_it_and_asks_only_about_who_is_different() {
        let mut roll = with_r1();
        roll.listed(&[summary("r1"), summary("r2")], roll.turn());
        while let Some((id, turn)) = roll.next() {
            roll.looked(&id, turn, up(&id));
        }
        assert_eq!(roll.tell().len(), 2);
        roll.listed(&[summary("r1"), summary("r2")], roll.turn());
        assert!(roll.next().is_none(), "nothing is different");
        roll.listed(&[summary("r2")], roll.turn());
        assert_eq!(roll.news(), News::Less);
        assert_eq!(first(&mut roll).id, "r2");
    }

    #[test]
    fn who_the_filter_may_leave_out_is_looked_up_in_the_list() {
        let mut roll = Roll::new(true);
        changed(&mut roll, "r1");
        assert!(roll.next().is_none());
        assert!(roll.take_wish_for_list());
    }

    #[test]
    fn a_real_engines_events_are_understood() {
        let lines = include_str!("../../tests/fixtures/docker/events.jsonl").lines();
        let read = |line| Event::read(serde_json::from_str(line).unwrap());
        let events: Vec<Kind> = lines.filter_map(read).map(|it| it.kind).collect();
        let plain = "5bbb194cb4dff520fb0db5174dfc27e7258b8bf1375a9430f21c9df7d9e16644";
        let of_plain: Vec<&Kind> = events
            .iter()
            .filter(|it| format!("{it:?}").contains(plain))
            .collect();
        let is_down = |it: &&&Kind| matches!(it, Kind::Down(_));
        // Paused; restarted (died, stopped); removed (died, destroyed).
        assert_eq!(of_plain.iter().filter(is_down).count(), 5);
        let healthy = |it: &Kind| matches!(it, Kind::Health(_, Health::Healthy));
        assert_eq!(events.iter().filter(|it| healthy(it)).count(), 1);
        let detached = |it: &Kind| matches!(it, Kind::Detached(..));
        assert_eq!(events.iter().filter(|it| detached(it)).count(), 4);
    }
}
