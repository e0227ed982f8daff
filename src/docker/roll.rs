//! The roll of containers: what is known of each, and who must be looked at again. No I/O;
//! `watch` carries words between it and the engine.
//!
//! Every word about a container raises its turn, and an answer to a question that was asked in
//! an earlier turn is thrown away: an inspection that was on its way while its container died
//! cannot bring the dead back.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use bollard::models::ContainerSummary;

use super::{
    container::{Container, Health},
    engine::Looked,
    event::{Event, Kind},
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
    /// In this turn.
    Asked(u64),
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
            lost |= !stays && entry.container.is_some();
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
                entry.asked = Asked::Asked(entry.turn);
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
        if entry.asked != Asked::Asked(turn) {
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
                }
            }
            Looked::Down => {
                if entry.container.is_some() {
                    self.news = self.news.max(Some(News::Less));
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
    pub(super) fn tell(&mut self) -> Vec<Arc<Container>> {
        self.news = None;
        let mut all: Vec<Arc<Container>> = self
            .known
            .values()
            .filter_map(|it| it.container.clone())
            .collect();
        all.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        all
    }
}
