//! Discovery as a whole: a fake engine in front, a real store behind, the table at the end.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    sync::{Notify, watch},
    task::LocalSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{Discovery, Findings, LONGEST_REST, Rest, listing::listing};
use crate::{
    clock::{Clock, Timestamp},
    config::{Config, HostPattern, TenantConfig},
    docker::fake::Fake,
    name::HostName,
    route::{Destination, HostRoute, RouteTable, Routes},
    store::{FREED_AT_ONCE, StoreHandle, sqlite::SqliteStore},
    telemetry::Metrics,
};

/// A gateway's discovery, at work.
struct Town {
    fake: Fake,
    config: watch::Sender<Arc<Config>>,
    routes: Arc<Routes>,
    findings: Arc<ArcSwap<Findings>>,
    store: StoreHandle,
    claims_changed: Arc<Notify>,
    metrics: Metrics,
    over: CancellationToken,
    _folder: tempfile::TempDir,
}

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

/// Guarded at `example.net`, with one tenant in the file.
fn config(docker: &str) -> Config {
    let mut config = Config {
        root_domain: Some(host("example.net")),
        ..Config::default()
    };
    config.portal.host = Some(host("auth.example.net"));
    config.docker.hosts = vec![docker.to_owned()];
    config.docker.resync = Duration::from_hours(1);
    config.tenants = vec![Arc::new(TenantConfig {
        line: 7,
        hosts: vec![HostPattern::Exact(host("fixed.example.net"))],
        upstreams: vec!["127.0.0.1:1880".parse().unwrap()],
        ..TenantConfig::default()
    })];
    config
}

async fn in_town(test: impl AsyncFnOnce(&Town)) {
    let work = async {
        let fake = Fake::start();
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::held(Timestamp::from_secs(1_800_000_000));
        let store = SqliteStore::open(&folder.path().join("db"), clock.now()).unwrap();
        let town = Town {
            config: watch::Sender::new(Arc::new(config(&fake.host()))),
            fake,
            routes: Arc::default(),
            findings: Arc::default(),
            store: StoreHandle::start(Box::new(store)).unwrap(),
            claims_changed: Arc::default(),
            metrics: Metrics::new(),
            over: CancellationToken::new(),
            _folder: folder,
        };
        let discovery = Discovery {
            config: town.config.subscribe(),
            store: town.store.clone(),
            clock,
            routes: town.routes.clone(),
            metrics: town.metrics.clone(),
            claims_changed: town.claims_changed.clone(),
            findings: town.findings.clone(),
            over: town.over.clone(),
        };
        let running = tokio::task::spawn_local(discovery.run());
        test(&town).await;
        town.over.cancel();
        running.await.unwrap();
    };
    LocalSet::new().run_until(work).await;
}

fn route(table: &RouteTable, name: &str) -> Option<Arc<HostRoute>> {
    match table.find(&host(name)) {
        Destination::Tenant(route) => Some(route),
        Destination::Portal
        | Destination::Manager
        | Destination::NowhereGuarded
        | Destination::Nowhere => None,
    }
}

/// Where requests for a host go.
fn upstreams(table: &RouteTable, name: &str) -> Option<Vec<String>> {
    let route = route(table, name)?;
    let all = route.paths.iter().flat_map(|it| it.upstreams.iter());
    let mut all: Vec<String> = all.map(|it| it.address.to_string()).collect();
    all.sort();
    Some(all)
}

impl Town {
    async fn until(&self, mut holds: impl FnMut(&RouteTable) -> bool) {
        let mut changes = self.routes.watch();
        let wait = async {
            while !holds(&self.routes.load()) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .unwrap_or_else(|_| panic!("not in time: {:?}", self.routes.load()));
    }

    async fn goes_to(&self, name: &str, addresses: &[&str]) {
        self.until(|it| upstreams(it, name).is_some_and(|it| it == addresses))
            .await;
    }

    async fn goes_nowhere(&self, name: &str) {
        self.until(|it| upstreams(it, name).is_none_or(|it| it.is_empty()))
            .await;
    }
}

#[tokio::test]
async fn the_files_tenants_need_no_docker() {
    in_town(async |town| {
        town.fake.go_away();
        town.goes_to("fixed.example.net", &["127.0.0.1:1880"]).await;
        assert!(!town.findings.load().is_whole);
    })
    .await;
}

#[tokio::test]
async fn a_container_is_routed_while_it_runs() {
    in_town(async |town| {
        town.fake
            .run("r1", "172.20.0.2", &["VIRTUAL_HOST=r1.example.net"]);
        town.goes_to("r1.example.net", &["172.20.0.2:1880"]).await;
        let tenant = route(&town.routes.load(), "r1.example.net")
            .unwrap()
            .tenant
            .clone();
        town.fake.listened_to(1).await;
        town.fake.kill("r1");
        town.goes_nowhere("r1.example.net").await;
        town.fake
            .run("r1", "172.20.0.7", &["VIRTUAL_HOST=r1.example.net"]);
        town.goes_to("r1.example.net", &["172.20.0.7:1880"]).await;
        let again = route(&town.routes.load(), "r1.example.net")
            .unwrap()
            .tenant
            .clone();
        assert_eq!(tenant, again, "its claim survives it");
        assert!(town.findings.load().is_whole);
    })
    .await;
}

#[tokio::test]
async fn d6_a_dead_replicas_address_is_never_in_a_table_again() {
    in_town(async |town| {
        let env = ["VIRTUAL_HOST=r1.example.net"];
        town.fake.run_of("alpha", "r1", "172.20.0.2", &env);
        town.fake.run_of("alpha", "r2", "172.20.0.3", &env);
        town.goes_to("r1.example.net", &["172.20.0.2:1880", "172.20.0.3:1880"])
            .await;
        town.fake.listened_to(1).await;
        town.fake.kill("r1");
        // The address is another tenant's in the same moment.
        town.fake
            .run("other", "172.20.0.2", &["VIRTUAL_HOST=other.example.net"]);
        town.until(|it| {
            let own = upstreams(it, "r1.example.net").unwrap_or_default();
            let theirs = upstreams(it, "other.example.net").unwrap_or_default();
            let shared = own.iter().any(|it| theirs.contains(it));
            assert!(!shared, "{own:?} {theirs:?}");
            own == ["172.20.0.3:1880"] && theirs == ["172.20.0.2:1880"]
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn d6_a_death_needs_no_store() {
    in_town(async |town| {
        town.fake
            .run("r1", "172.20.0.2", &["VIRTUAL_HOST=r1.example.net"]);
        town.goes_to("r1.example.net", &["172.20.0.2:1880"]).await;
        town.fake.listened_to(1).await;
        let (free, held) = std::sync::mpsc::channel::<()>();
        let busy = town.store.call(move |_| {
            // Ends when the test lets go.
            let _ = held.recv();
            Ok(())
        });
        let death = async {
            town.fake
                .run("r2", "172.20.0.3", &["VIRTUAL_HOST=r2.example.net"]);
            town.fake.kill("r1");
            town.goes_nowhere("r1.example.net").await;
            drop(free);
            town.goes_to("r2.example.net", &["172.20.0.3:1880"]).await;
        };
        let (busy, ()) = futures_util::future::join(busy, death).await;
        busy.unwrap();
    })
    .await;
}

#[tokio::test]
async fn p11_a_container_gets_nothing_of_anothers_and_is_listed() {
    in_town(async |town| {
        town.fake
            .run("a", "172.20.0.2", &["VIRTUAL_HOST=a.example.net"]);
        town.goes_to("a.example.net", &["172.20.0.2:1880"]).await;
        town.fake.listened_to(1).await;
        let hosts = "a.example.net,~.*,*.example.net,auth.example.net,fixed.example.net";
        town.fake
            .run("b", "172.20.0.3", &[&format!("VIRTUAL_HOST={hosts}")]);
        town.until(|it| it.refused.len() == 5).await;
        let table = town.routes.load();
        assert_eq!(
            upstreams(&table, "a.example.net").unwrap(),
            ["172.20.0.2:1880"]
        );
        assert_eq!(
            upstreams(&table, "fixed.example.net").unwrap(),
            ["127.0.0.1:1880"]
        );
        assert!(matches!(
            table.find(&host("auth.example.net")),
            Destination::Portal
        ));
        assert!(upstreams(&table, "new.example.net").is_none());
        assert_eq!(town.metrics.refused_containers.get(), 1);
        // Its owner gone, the name still is nobody else's.
        town.fake.kill("a");
        town.goes_nowhere("a.example.net").await;
    })
    .await;
}

#[tokio::test]
async fn p12_a_container_of_nonsense_stops_nobody() {
    in_town(async |town| {
        town.fake.run(
            "bad",
            "172.20.0.9",
            &["VIRTUAL_HOST=bad.example.net", "HSTS=x\";} server {"],
        );
        town.fake
            .run("r1", "172.20.0.2", &["VIRTUAL_HOST=r1.example.net"]);
        town.goes_to("r1.example.net", &["172.20.0.2:1880"]).await;
        town.goes_nowhere("bad.example.net").await;
        town.fake.listened_to(1).await;
        town.fake.kill("r1");
        town.goes_nowhere("r1.example.net").await;
    })
    .await;
}

#[tokio::test]
async fn d5_the_last_table_stays_while_docker_is_away() {
    in_town(async |town| {
        town.fake
            .run("r1", "172.20.0.2", &["VIRTUAL_HOST=r1.example.net"]);
        town.goes_to("r1.example.net", &["172.20.0.2:1880"]).await;
        town.fake.go_away();
        // Something else makes a new table meanwhile.
        let mut other = config(&town.fake.host());
        other.tenants.clear();
        town.config.send_replace(Arc::new(other));
        town.goes_nowhere("fixed.example.net").await;
        town.goes_to("r1.example.net", &["172.20.0.2:1880"]).await;
        town.fake.kill("r1");
        town.fake.come_back();
        town.goes_nowhere("r1.example.net").await;
    })
    .await;
}

#[tokio::test]
async fn another_engine_takes_over_without_a_gap() {
    in_town(async |town| {
        let env = ["VIRTUAL_HOST=r1.example.net"];
        town.fake.run("r1", "172.20.0.2", &env);
        town.goes_to("r1.example.net", &["172.20.0.2:1880"]).await;
        let other = Fake::start();
        other.run("r1", "172.20.0.8", &env);
        town.config.send_replace(Arc::new(config(&other.host())));
        town.until(|it| {
            let there = upstreams(it, "r1.example.net").expect("never nowhere");
            there == ["172.20.0.8:1880"]
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_released_name_is_given_when_its_owner_is_gone() {
    in_town(async |town| {
        town.fake
            .run("a", "172.20.0.2", &["VIRTUAL_HOST=a.example.net"]);
        town.goes_to("a.example.net", &["172.20.0.2:1880"]).await;
        town.fake.listened_to(1).await;
        town.fake.kill("a");
        town.fake
            .run("b", "172.20.0.3", &["VIRTUAL_HOST=a.example.net"]);
        town.until(|it| it.refused.len() == 1).await;
        let freed = town
            .store
            .call(|store| store.release_claim("a.example.net", FREED_AT_ONCE));
        freed.await.unwrap();
        town.claims_changed.notify_one();
        town.goes_to("a.example.net", &["172.20.0.3:1880"]).await;
        assert!(
            route(&town.routes.load(), "a.example.net")
                .unwrap()
                .changed_hands
        );
    })
    .await;
}

#[tokio::test]
async fn a_table_that_is_the_same_is_not_put_in_force_again() {
    in_town(async |town| {
        town.fake
            .run("r1", "172.20.0.2", &["VIRTUAL_HOST=r1.example.net"]);
        town.goes_to("r1.example.net", &["172.20.0.2:1880"]).await;
        town.fake.listened_to(1).await;
        let epoch = town.routes.epoch();
        // A database comes; nothing is asked for. What comes after it is one change.
        town.fake.run("db", "172.20.0.5", &[]);
        town.claims_changed.notify_one();
        town.fake
            .run("r2", "172.20.0.6", &["VIRTUAL_HOST=r2.example.net"]);
        town.goes_to("r2.example.net", &["172.20.0.6:1880"]).await;
        assert_eq!(town.routes.epoch(), epoch + 1);
    })
    .await;
}

#[tokio::test]
async fn the_table_is_listed_for_people_and_programs() {
    in_town(async |town| {
        town.fake.run(
            "r1",
            "172.20.0.2",
            &["VIRTUAL_HOST=r1.example.net,auth.example.net"],
        );
        town.fake.run(
            "r2",
            "172.20.0.3",
            &["VIRTUAL_HOST=r2.example.net", "VIRTUAL_PATH=^~ /x"],
        );
        town.goes_to("r2.example.net", &["172.20.0.3:1880"]).await;
        town.until(|it| it.exact.len() == 3 && it.refused.len() == 1)
            .await;
        let listed = listing(&town.routes.load(), &town.findings.load());
        let text = listed.text();
        for part in [
            "r1.example.net     /     two-factor  container:r1",
            "r1 172.20.0.2:1880",
            "r2.example.net     ^~ /x  two-factor",
            "fixed.example.net",
            "refused:\n  r1: auth.example.net: ",
            "warnings:\n  network net-a joins container:r1, container:r2",
        ] {
            let squeezed = |it: &str| it.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                squeezed(&text).contains(&squeezed(part)),
                "{part} in\n{text}"
            );
        }
        let json: serde_json::Value = serde_json::from_str(&listed.json().unwrap()).unwrap();
        assert_eq!(json["routes"][1]["upstreams"][0], "r1 172.20.0.2:1880");
        assert_eq!(json["refused"][0]["container"], "r1");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_took_long_is_not_done_again_for_as_long_and_for_a_second_at_most() {
    for (took, expected) in [(0, None), (300, Some(300)), (60_000, Some(1000))] {
        let began = Instant::now();
        sleep(Duration::from_millis(took)).await;
        let rest = Rest::after(began);
        assert_eq!(rest.left(), expected.map(Duration::from_millis));
        sleep(LONGEST_REST).await;
        assert_eq!(rest.left(), None);
    }
    assert_eq!(Rest::none().left(), None);
}

/// None of them is lost, and what comes and goes after them is heard.
#[tokio::test]
async fn many_containers_at_the_start_are_all_followed() {
    in_town(async |town| {
        for n in 0..300 {
            let name = format!("c{n}");
            town.fake.run(
                &name,
                "172.20.0.9",
                &[&format!("VIRTUAL_HOST=c{n}.example.net")],
            );
        }
        for n in [0, 150, 299] {
            town.goes_to(&format!("c{n}.example.net"), &["172.20.0.9:1880"])
                .await;
        }
        town.fake
            .run("late", "172.20.0.10", &["VIRTUAL_HOST=late.example.net"]);
        town.goes_to("late.example.net", &["172.20.0.10:1880"])
            .await;
        town.fake.kill("c150");
        town.goes_to("c150.example.net", &[]).await;
    })
    .await;
}
