//! Following one engine, for as long as the gateway runs.

use std::{
    cell::RefCell, collections::HashMap, convert::Infallible, pin::Pin, rc::Rc, sync::Arc,
    time::Duration,
};

use futures_util::{
    StreamExt as _,
    future::{Either, pending},
    stream::FuturesUnordered,
};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    container::{Container, Image},
    engine::{Engine, EngineError, Looked, Source, judge},
    event::Event,
    own::{GatewayNetworks, own_id},
    roll::{News, Roll},
};
use crate::clock::Clock;

/// Containers by when they were made, then by id. One snapshot and the next share what they
/// agree on, so that what is different between them is found without a look at the rest.
pub type Running = imbl::OrdMap<(jiff::Timestamp, String), Arc<Container>>;

/// What an engine runs, whole.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Every running container that passes the filters, the oldest first.
    pub containers: Running,
    /// The networks by which the gateway reaches them.
    pub gateway: GatewayNetworks,
    /// Whether the engine answers now. When it does not, the rest is what was last known.
    pub connected: bool,
    /// Whether more is coming: containers that were told of and have not been looked at yet.
    pub growing: bool,
}

/// The shortest wait before the engine is tried again.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest: an engine that came back is followed again within two seconds.
const LONGEST_WAIT: Duration = Duration::from_millis(1600);
/// A connection that lasted so long was a good one: the next is tried without delay.
const LASTED: Duration = Duration::from_secs(5);
/// Events so close together are told as one.
const MERGE_MORE: Duration = Duration::from_millis(100);
/// The same where an address must not be used any more.
const MERGE_LESS: Duration = Duration::from_millis(10);
/// Containers looked at at once.
const AT_ONCE: usize = 8;
/// The first snapshot waits so long for containers that do not let themselves be looked at.
const FIRST_SNAPSHOT: Duration = Duration::from_secs(2);
/// A second list closes the gap between the first and the beginning of the event stream.
const SECOND_LIST: Duration = Duration::from_secs(1);
/// Events are asked for from a little before now, since clocks are read apart.
const LOOK_BACK_NANOS: i64 = 2_000_000_000;

/// Follows `source` and tells every change. Ends only by being dropped.
pub async fn watch(source: &Source, clock: &Clock, mut tell: impl FnMut(Snapshot)) -> Infallible {
    let mut watcher = Watcher {
        source,
        own: own_id(),
        roll: Roll::new(!source.filters.is_empty()),
        gateway: GatewayNetworks::Host,
        images: Images::default(),
        since_nanos: clock.now().0.saturating_mul(1_000_000),
        told_at: None,
        is_complete: false,
        // So that the first failure is told too.
        is_connected: true,
    };
    let mut wait = FIRST_WAIT;
    let mut complaint = String::new();
    loop {
        let began = Instant::now();
        let Err(error) = watcher.follow(&mut tell).await;
        if began.elapsed() > LASTED {
            wait = FIRST_WAIT;
            complaint.clear();
        }
        let said = error.to_string();
        if said != complaint {
            tracing::warn!(host = source.host, %error, "Docker is away; the routes stay as they are");
            complaint = said;
        }
        if std::mem::take(&mut watcher.is_connected) {
            tell(watcher.snapshot(false));
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Looks at `source` once.
pub async fn survey(source: &Source) -> Result<Snapshot, EngineError> {
    let engine = Engine::connect(source).await?;
    let mut roll = Roll::new(false);
    roll.listed(&engine.list(&source.filters).await?, 0);
    let images = Images::default();
    while let Some((id, turn)) = roll.next() {
        let seen = look(engine.clone(), id, turn, images.clone()).await;
        roll.looked(&seen.id, seen.turn, seen.looked);
    }
    Ok(Snapshot {
        containers: roll.tell(),
        gateway: find_gateway(&engine, own_id().as_deref())
            .await
            .unwrap_or_default(),
        connected: true,
        growing: false,
    })
}

/// The images seen so far, by id; `None`: it could not be inspected.
type Images = Rc<RefCell<HashMap<String, Option<Rc<Image>>>>>;

struct Watcher<'a> {
    source: &'a Source,
    own: Option<String>,
    roll: Roll,
    gateway: GatewayNetworks,
    images: Images,
    /// Events up to here have been heard, by the engine's clock.
    since_nanos: i64,
    told_at: Option<Instant>,
    /// Whether everything has been looked at once.
    is_complete: bool,
    /// Whether the last that was told came from an engine that answers.
    is_connected: bool,
}

/// What looking at a container brought.
struct Seen {
    id: String,
    turn: u64,
    looked: Looked,
}

type Pending<T> = Pin<Box<dyn Future<Output = T>>>;

/// A list, the turn in which it was asked for, and the gateway's own networks.
type Listed = (
    Result<Vec<bollard::models::ContainerSummary>, EngineError>,
    u64,
    Option<GatewayNetworks>,
);

impl Watcher<'_> {
    fn snapshot(&mut self, connected: bool) -> Snapshot {
        Snapshot {
            containers: self.roll.tell(),
            gateway: self.gateway.clone(),
            connected,
            growing: !self.roll.is_settled(),
        }
    }

    /// Follows until the connection fails.
    async fn follow(&mut self, tell: &mut impl FnMut(Snapshot)) -> Result<Infallible, EngineError> {
        let engine = Engine::connect(self.source).await?;
        self.roll.disconnected();
        let mut events = std::pin::pin!(engine.events(self.since_nanos - LOOK_BACK_NANOS));
        let mut looks: FuturesUnordered<Pending<Seen>> = FuturesUnordered::new();
        let mut list: Option<Pending<Listed>> = Some(self.ask_for_list(&engine));
        let mut next_list = Instant::now() + SECOND_LIST;
        let first_by = Instant::now() + FIRST_SNAPSHOT;
        let mut is_first = true;
        loop {
            let tell_at = self.tell_at(is_first && list.is_some(), first_by);
            let telling = match tell_at {
                Some(at) if at <= Instant::now() => {
                    if is_first {
                        tracing::info!(host = self.source.host, "Docker is followed");
                    }
                    is_first = false;
                    self.is_complete = true;
                    self.is_connected = true;
                    self.told_at = Some(Instant::now());
                    tell(self.snapshot(true));
                    continue;
                }
                Some(at) => Either::Left(sleep_until(at)),
                None => Either::Right(pending()),
            };
            let is_listing = list.is_some();
            let listing = match &mut list {
                Some(list) => Either::Left(list),
                None => Either::Right(pending()),
            };
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.hear(event?),
                    None => return Err(EngineError::Ended),
                },
                (summaries, turn, gateway) = listing => {
                    list = None;
                    self.take_list(&summaries?, turn, gateway);
                    if is_first {
                        // Even an empty list is news: the engine is there.
                        self.roll.announce();
                    }
                }
                Some(seen) = looks.next() => self.roll.looked(&seen.id, seen.turn, seen.looked),
                () = sleep_until(next_list), if !is_listing => {
                    list = Some(self.ask_for_list(&engine));
                    next_list = Instant::now() + self.source.resync;
                }
                () = telling => (),
            }
            if list.is_none() && self.roll.take_wish_for_list() {
                list = Some(self.ask_for_list(&engine));
            }
            while looks.len() < AT_ONCE
                && let Some((id, turn)) = self.roll.next()
            {
                looks.push(Box::pin(look(
                    engine.clone(),
                    id,
                    turn,
                    self.images.clone(),
                )));
            }
        }
    }

    /// When to tell: at once, but not more often than the merging allows, and not before the
    /// first look at everything.
    fn tell_at(&self, awaits_first_list: bool, first_by: Instant) -> Option<Instant> {
        let merge = match self.roll.news() {
            News::None => return None,
            News::More => MERGE_MORE,
            News::Less => MERGE_LESS,
        };
        if awaits_first_list && !self.is_complete {
            return None;
        }
        if !self.is_complete && !self.roll.is_settled() {
            return Some(first_by);
        }
        Some(self.told_at.map_or_else(Instant::now, |it| it + merge))
    }

    fn hear(&mut self, event: Option<Event>) {
        if let Some(event) = event {
            self.since_nanos = self.since_nanos.max(event.at_nanos);
            self.roll.hear(event);
        }
    }

    fn ask_for_list(&self, engine: &Engine) -> Pending<Listed> {
        let (engine, filters) = (engine.clone(), self.source.filters.clone());
        let (turn, own) = (self.roll.turn(), self.own.clone());
        Box::pin(async move {
            let listed = engine.list(&filters).await;
            let gateway = find_gateway(&engine, own.as_deref()).await;
            (listed, turn, gateway)
        })
    }

    fn take_list(
        &mut self,
        summaries: &[bollard::models::ContainerSummary],
        turn: u64,
        gateway: Option<GatewayNetworks>,
    ) {
        let used: Vec<&str> = summaries
            .iter()
            .filter_map(|it| it.image_id.as_deref())
            .collect();
        // An image that could not be inspected is tried again.
        self.images
            .borrow_mut()
            .retain(|id, image| image.is_some() && used.contains(&id.as_str()));
        self.roll.listed(summaries, turn);
        if let Some(gateway) = gateway
            && self.gateway != gateway
        {
            self.gateway = gateway;
            self.roll.announce();
        }
    }
}

/// Looks at one container, and at its image where that is new.
async fn look(engine: Engine, id: String, turn: u64, images: Images) -> Seen {
    let inspected = engine.inspect(&id).await;
    let of = inspected.as_ref().ok().and_then(|it| it.image.clone());
    let looked = match image_of(&engine, of, &images).await {
        Ok(image) => judge(inspected, image.as_deref()),
        Err(error) => Looked::Unclear(error.to_string()),
    };
    Seen { id, turn, looked }
}

async fn image_of(
    engine: &Engine,
    id: Option<String>,
    images: &Images,
) -> Result<Option<Rc<Image>>, EngineError> {
    let Some(id) = id else {
        return Ok(None);
    };
    if let Some(known) = images.borrow().get(&id) {
        return Ok(known.clone());
    }
    let image = engine.image(&id).await?.map(Rc::new);
    images.borrow_mut().insert(id, image.clone());
    Ok(image)
}

/// `None` when the engine did not say.
async fn find_gateway(engine: &Engine, own: Option<&str>) -> Option<GatewayNetworks> {
    let Some(own) = own else {
        return Some(GatewayNetworks::Host);
    };
    match judge(engine.inspect(own).await, None) {
        Looked::Up(container) => Some(GatewayNetworks::of(&container)),
        // A container of another engine: nothing is known of the ways from there.
        Looked::Down => Some(GatewayNetworks::Host),
        Looked::Unclear(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fake::{Fake, Follower, id_of, names},
        *,
    };

    const SELDOM: Duration = Duration::from_hours(1);

    async fn with_fake(test: impl AsyncFnOnce(Fake)) {
        tokio::task::LocalSet::new()
            .run_until(async { test(Fake::start()).await })
            .await;
    }

    #[tokio::test]
    async fn what_runs_is_told_and_what_starts_and_dies_too() {
        with_fake(async |fake| {
            fake.run("r1", "172.20.0.2", &["VIRTUAL_HOST=r1.example.net"]);
            let mut follower = Follower::of(&fake, SELDOM);
            let told = follower.until(&["r1"]).await;
            assert_eq!(
                told.containers.values().next().unwrap().env["VIRTUAL_HOST"].value,
                "r1.example.net"
            );
            fake.listened_to(1).await;
            fake.run("r2", "172.20.0.3", &[]);
            follower.until(&["r1", "r2"]).await;
            fake.kill("r1");
            follower.until(&["r2"]).await;
        })
        .await;
    }

    #[tokio::test]
    async fn d5_the_last_word_stays_while_the_engine_is_away() {
        with_fake(async |fake| {
            fake.run("r1", "172.20.0.2", &[]);
            fake.run("r2", "172.20.0.3", &[]);
            let mut follower = Follower::of(&fake, SELDOM);
            follower.until(&["r1", "r2"]).await;
            fake.go_away();
            let told = follower.until_it(|it| !it.connected).await;
            assert_eq!(names(&told), ["r1", "r2"]);
            // What happens meanwhile is seen within two seconds of its return.
            fake.kill("r1");
            fake.run("r3", "172.20.0.2", &[]);
            fake.come_back();
            let back = Instant::now();
            follower.until(&["r2", "r3"]).await;
            assert!(
                back.elapsed() < Duration::from_secs(3),
                "{:?}",
                back.elapsed()
            );
        })
        .await;
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_yet_is_waited_for() {
        with_fake(async |fake| {
            fake.go_away();
            let mut follower = Follower::of(&fake, SELDOM);
            follower.until_it(|it| !it.connected).await;
            fake.run("r1", "172.20.0.2", &[]);
            fake.come_back();
            follower.until(&["r1"]).await;
        })
        .await;
    }

    #[tokio::test]
    async fn d5_a_stream_that_falls_silent_is_made_up_for_by_the_list() {
        with_fake(async |fake| {
            fake.run("r1", "172.20.0.2", &[]);
            let mut follower = Follower::of(&fake, Duration::from_millis(50));
            follower.until(&["r1"]).await;
            fake.fall_silent();
            fake.run("r2", "172.20.0.3", &[]);
            follower.until(&["r1", "r2"]).await;
            fake.kill("r1");
            follower.until(&["r2"]).await;
        })
        .await;
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_or_turns_to_nonsense_is_taken_up_again() {
        with_fake(async |fake| {
            fake.run("r1", "172.20.0.2", &[]);
            let mut follower = Follower::of(&fake, SELDOM);
            follower.until(&["r1"]).await;
            fake.listened_to(1).await;
            fake.say("{\"Type\":\"container\",\"Act");
            fake.hang_up();
            fake.listened_to(2).await;
            fake.run("r2", "172.20.0.3", &[]);
            follower.until(&["r1", "r2"]).await;
            fake.say("<html>502 bad gateway</html>\n");
            fake.listened_to(3).await;
            fake.kill("r1");
            follower.until(&["r2"]).await;
        })
        .await;
    }

    #[tokio::test]
    async fn d5_five_hundred_events_are_a_handful_of_news() {
        with_fake(async |fake| {
            let mut follower = Follower::of(&fake, SELDOM);
            follower.until(&[]).await;
            fake.listened_to(1).await;
            let (before, began) = (follower.told.borrow().0, Instant::now());
            for i in 0..125 {
                let name = format!("c{}", i % 5);
                fake.run(&name, &format!("172.20.1.{}", i % 5), &[]);
                fake.emit("container", "rename", &id_of(&name));
                fake.emit("container", "update", &id_of(&name));
                if i < 120 {
                    fake.kill(&name);
                }
                tokio::task::yield_now().await;
            }
            follower.until(&["c0", "c1", "c2", "c3", "c4"]).await;
            let told = follower.told.borrow().0 - before;
            let most = began.elapsed().as_millis() / MERGE_LESS.as_millis() + 2;
            assert!(
                u128::try_from(told).unwrap() <= most,
                "{told} in {:?}",
                began.elapsed()
            );
            assert!(fake.inspections() < 500, "{}", fake.inspections());
        })
        .await;
    }

    #[tokio::test]
    async fn d6_a_death_is_told_whatever_else_is_stuck() {
        with_fake(async |fake| {
            fake.run("r1", "172.20.0.2", &[]);
            let mut follower = Follower::of(&fake, SELDOM);
            follower.until(&["r1"]).await;
            fake.listened_to(1).await;
            fake.get_stuck_on("r2");
            fake.get_stuck_on("r1");
            fake.run("r2", "172.20.0.3", &[]);
            fake.emit("container", "rename", &id_of("r1"));
            let died = Instant::now();
            fake.kill("r1");
            follower.until(&[]).await;
            assert!(
                died.elapsed() < Duration::from_secs(1),
                "{:?}",
                died.elapsed()
            );
        })
        .await;
    }

    #[tokio::test]
    async fn p12_a_container_that_the_engine_cannot_describe_harms_nobody() {
        with_fake(async |fake| {
            fake.talk_nonsense_of("bad");
            fake.run("bad", "172.20.0.9", &[]);
            fake.run("r1", "172.20.0.2", &[]);
            let mut follower = Follower::of(&fake, SELDOM);
            follower.until(&["r1"]).await;
            fake.listened_to(1).await;
            fake.run("r2", "172.20.0.3", &[]);
            follower.until(&["r1", "r2"]).await;
        })
        .await;
    }

    #[tokio::test]
    async fn the_first_word_waits_for_everybody_but_not_for_ever() {
        with_fake(async |fake| {
            for i in 2..40 {
                fake.run(&format!("r{i}"), &format!("172.20.0.{i}"), &[]);
            }
            let mut follower = Follower::of(&fake, SELDOM);
            let first = follower.until_it(|it| it.connected).await;
            assert_eq!(first.containers.len(), 38);
            fake.get_stuck_on("r2");
            let mut other = Follower::of(&fake, SELDOM);
            let first = other.until_it(|it| it.connected).await;
            assert_eq!(first.containers.len(), 37);
        })
        .await;
    }
}
