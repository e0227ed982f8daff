//! An engine that can be driven into states that a real one cannot: for tests.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Frame, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::UnixListener, sync::mpsc, task::AbortHandle};

use super::{
    engine::Source,
    watch::{Snapshot, watch},
};
use crate::clock::{Clock, Timestamp};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The engine. All of it runs on the test's own `LocalSet`.
#[derive(Clone)]
pub(crate) struct Fake(Rc<Inner>);

struct Inner {
    folder: tempfile::TempDir,
    running: RefCell<BTreeMap<String, Value>>,
    listeners: RefCell<Vec<mpsc::UnboundedSender<Bytes>>>,
    tasks: RefCell<Vec<AbortHandle>>,
    /// Containers that are never inspected to the end.
    stuck: RefCell<BTreeSet<String>>,
    /// Containers of which nonsense is told.
    nonsense: RefCell<BTreeSet<String>>,
    is_mute: Cell<bool>,
    nanos: Cell<i64>,
    inspections: Cell<usize>,
    events_opened: tokio::sync::watch::Sender<usize>,
}

/// When the fake engine's time begins.
const EPOCH_NANOS: i64 = 1_800_000_000_000_000_000;

impl Fake {
    pub(crate) fn start() -> Self {
        let fake = Self(Rc::new(Inner {
            folder: tempfile::tempdir().unwrap(),
            running: RefCell::default(),
            listeners: RefCell::default(),
            tasks: RefCell::default(),
            stuck: RefCell::default(),
            nonsense: RefCell::default(),
            is_mute: Cell::new(false),
            nanos: Cell::new(EPOCH_NANOS),
            inspections: Cell::new(0),
            events_opened: tokio::sync::watch::Sender::new(0),
        }));
        fake.come_back();
        fake
    }

    fn socket(&self) -> PathBuf {
        self.0.folder.path().join("docker.sock")
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Listens (again).
    pub(crate) fn come_back(&self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let fake = self.clone();
        let task = tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let of = fake.clone();
                let answer = service_fn(move |request| of.clone().answer(request));
                let task = tokio::task::spawn_local(async move {
                    // A client that hangs up is no failure of a test.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                });
                fake.0.tasks.borrow_mut().push(task.abort_handle());
            }
        });
        self.0.tasks.borrow_mut().push(task.abort_handle());
    }

    /// The engine goes down, its socket with it; the containers go on.
    pub(crate) fn go_away(&self) {
        for task in self.0.tasks.take() {
            task.abort();
        }
        self.0.listeners.borrow_mut().clear();
        std::fs::remove_file(self.socket()).unwrap();
    }

    /// Ends the event streams.
    pub(crate) fn hang_up(&self) {
        self.0.listeners.borrow_mut().clear();
    }

    /// Tells no event any more, and keeps the streams open.
    pub(crate) fn fall_silent(&self) {
        self.0.is_mute.set(true);
    }

    pub(crate) fn get_stuck_on(&self, name: &str) {
        self.0.stuck.borrow_mut().insert(id_of(name));
    }

    pub(crate) fn talk_nonsense_of(&self, name: &str) {
        self.0.nonsense.borrow_mut().insert(id_of(name));
    }

    pub(crate) fn inspections(&self) -> usize {
        self.0.inspections.get()
    }

    /// Waits until somebody listens to events for the `n`th time.
    pub(crate) async fn listened_to(&self, n: usize) {
        let mut opened = self.0.events_opened.subscribe();
        opened.wait_for(|it| *it >= n).await.unwrap();
    }

    /// Starts a container with these settings on `net-a`.
    pub(crate) fn run(&self, name: &str, address: &str, env: &[&str]) {
        self.start_container(name, address, env, &json!({}));
    }

    /// The same, of a compose project.
    pub(crate) fn run_of(&self, project: &str, name: &str, address: &str, env: &[&str]) {
        let labels = json!({"com.docker.compose.project": project});
        self.start_container(name, address, env, &labels);
    }

    fn start_container(&self, name: &str, address: &str, env: &[&str], labels: &Value) {
        let now = self.tick();
        let at = jiff::Timestamp::from_nanosecond(i128::from(now))
            .unwrap()
            .to_string();
        let inspected = json!({
            "Id": id_of(name),
            "Name": format!("/{name}"),
            "Created": at,
            "Image": "sha256:1",
            "State": {"Status": "running", "Running": true, "Paused": false, "StartedAt": at},
            "HostConfig": {"NetworkMode": "net-a"},
            "Config": {"Env": env, "Labels": labels, "ExposedPorts": {"1880/tcp": {}}},
            "NetworkSettings": {
                "Ports": {"1880/tcp": null},
                "Networks": {"net-a": {"NetworkID": "n1", "IPAddress": address}},
            },
        });
        self.0.running.borrow_mut().insert(id_of(name), inspected);
        self.emit("container", "start", &id_of(name));
    }

    /// Kills a container.
    pub(crate) fn kill(&self, name: &str) {
        self.0.running.borrow_mut().remove(&id_of(name));
        self.emit("container", "die", &id_of(name));
    }

    /// Tells an event about a container.
    pub(crate) fn emit(&self, kind: &str, action: &str, id: &str) {
        let event = json!({
            "Type": kind, "Action": action, "Actor": {"ID": id, "Attributes": {}},
            "scope": "local", "timeNano": self.tick(),
        });
        self.say(&format!("{event}\n"));
    }

    /// Tells these very bytes.
    pub(crate) fn say(&self, text: &str) {
        if !self.0.is_mute.get() {
            let bytes = Bytes::copy_from_slice(text.as_bytes());
            let mut listeners = self.0.listeners.borrow_mut();
            listeners.retain(|it| it.send(bytes.clone()).is_ok());
        }
    }

    fn tick(&self) -> i64 {
        self.0.nanos.set(self.0.nanos.get() + 1_000_000);
        self.0.nanos.get()
    }

    async fn answer(
        self,
        request: Request<hyper::body::Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path();
        let path = path.strip_prefix("/v1.41").unwrap_or(path);
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let body = match parts.as_slice() {
            ["version"] => json!({"ApiVersion": "1.41"}),
            ["images", ..] => json!({"Id": "sha256:1", "Config": {}}),
            ["events"] => return Ok(Response::new(self.stream())),
            ["containers", "json"] => self.list(),
            ["containers", id, "json"] => {
                self.0.inspections.set(self.0.inspections.get() + 1);
                if self.0.stuck.borrow().contains(*id) {
                    std::future::pending::<()>().await;
                }
                if self.0.nonsense.borrow().contains(*id) {
                    json!({"Id": ["what"], "Name": 7})
                } else if let Some(found) = self.0.running.borrow().get(*id) {
                    found.clone()
                } else {
                    return Ok(missing());
                }
            }
            _ => return Ok(missing()),
        };
        Ok(Response::new(full(&body)))
    }

    fn list(&self) -> Value {
        let running = self.0.running.borrow();
        let summary = |it: &Value| {
            json!({
                "Id": it["Id"], "Names": [it["Name"]], "ImageID": it["Image"],
                "State": "running", "Status": "Up 1 second",
                "NetworkSettings": {"Networks": it["NetworkSettings"]["Networks"]},
            })
        };
        running.values().map(summary).collect()
    }

    fn stream(&self) -> Body {
        let (listener, heard) = mpsc::unbounded_channel();
        self.0.listeners.borrow_mut().push(listener);
        self.0.events_opened.send_modify(|it| *it += 1);
        let frames = stream::unfold(heard, |mut heard| async move {
            let bytes = heard.recv().await?;
            Some((Ok(Frame::data(bytes)), heard))
        });
        StreamBody::new(frames).boxed_unsync()
    }
}

pub(crate) fn id_of(name: &str) -> String {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digits = name.bytes().flat_map(|b| [b / 16, b % 16]);
    digits.map(|it| HEX[usize::from(it)]).collect()
}

fn full(body: &Value) -> Body {
    Full::new(Bytes::from(body.to_string())).boxed_unsync()
}

fn missing() -> Response<Body> {
    let mut response = Response::new(full(&json!({"message": "no such container"})));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// Follows a fake engine, and keeps what it tells.
pub(crate) struct Follower {
    pub(crate) told: tokio::sync::watch::Receiver<(usize, Snapshot)>,
    task: AbortHandle,
}

impl Follower {
    pub(crate) fn of(fake: &Fake, resync: Duration) -> Self {
        let source = Source {
            host: fake.host(),
            filters: Vec::new(),
            resync,
        };
        let (tell, told) = tokio::sync::watch::channel((0, Snapshot::default()));
        let clock = Clock::held(Timestamp(EPOCH_NANOS / 1_000_000));
        let task = tokio::task::spawn_local(async move {
            watch(&source, &clock, |snapshot| {
                tell.send_modify(|told| *told = (told.0 + 1, snapshot));
            })
            .await
        });
        Self {
            told,
            task: task.abort_handle(),
        }
    }

    /// Waits for a snapshot in which exactly these run.
    pub(crate) async fn until(&mut self, names: &[&str]) -> Snapshot {
        self.until_it(|it| it.connected && self::names(it) == names)
            .await
    }

    pub(crate) async fn until_it(&mut self, mut holds: impl FnMut(&Snapshot) -> bool) -> Snapshot {
        let wait = self.told.wait_for(|(_, it)| holds(it));
        let patience = Duration::from_secs(20);
        let found = tokio::time::timeout(patience, wait).await;
        found.expect("it is told in time").unwrap().1.clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn names(snapshot: &Snapshot) -> Vec<&str> {
    let mut names: Vec<&str> = snapshot
        .containers
        .values()
        .map(|it| it.name.as_str())
        .collect();
    names.sort_unstable();
    names
}
