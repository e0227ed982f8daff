//! One Docker engine, by its unix socket.

use std::{collections::HashMap, time::Duration};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    errors::Error,
    models::{ContainerInspectResponse, ContainerSummary},
    query_parameters::{EventsOptions, ListContainersOptions},
};
use futures_util::{Stream, StreamExt as _};

use super::{
    container::{Container, Image, is_up},
    event::{ACTIONS, Event},
};

/// Which engine, and which of its containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `unix:///path` or a path.
    pub host: String,
    /// As `docker ps --filter`: (key, value).
    pub filters: Vec<(String, String)>,
    /// How often everything is looked at again, events or not.
    pub resync: Duration,
}

/// Why an engine cannot be followed just now.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine, or the way to it, failed.
    #[error("the Docker engine does not answer: {0}")]
    Engine(#[from] Error),
    /// It took longer than `PATIENCE`.
    #[error("the Docker engine did not answer in time")]
    Late,
    /// The event stream ended.
    #[error("the event stream ended")]
    Ended,
}

/// How long the engine may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to an engine; every question is a connection of its own.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    docker: Docker,
}

/// What came of looking at one container.
#[derive(Debug)]
pub(super) enum Looked {
    /// It runs.
    Up(Box<Container>),
    /// It does not run, or is gone.
    Down,
    /// The engine did not say, or said nonsense.
    Unclear(String),
}

impl Engine {
    /// Finds the engine and agrees on a version.
    pub(super) async fn connect(source: &Source) -> Result<Self, EngineError> {
        let path = source.host.strip_prefix("unix://").unwrap_or(&source.host);
        let docker = Docker::connect_with_unix(path, PATIENCE.as_secs(), API_DEFAULT_VERSION)?;
        let docker = in_time(docker.negotiate_version()).await?;
        Ok(Self { docker })
    }

    /// The containers that run and pass the filters.
    pub(super) async fn list(
        &self,
        filters: &[(String, String)],
    ) -> Result<Vec<ContainerSummary>, EngineError> {
        let mut wanted: HashMap<String, Vec<String>> = HashMap::new();
        for (key, value) in filters {
            wanted.entry(key.clone()).or_default().push(value.clone());
        }
        wanted
            .entry("status".to_owned())
            .or_insert_with(|| vec!["running".to_owned()]);
        let options = ListContainersOptions {
            filters: Some(wanted),
            ..ListContainersOptions::default()
        };
        in_time(self.docker.list_containers(Some(options))).await
    }

    /// The events since `since_nanos`, engine's time, as they come.
    pub(super) fn events(
        &self,
        since_nanos: i64,
    ) -> impl Stream<Item = Result<Option<Event>, EngineError>> + use<> {
        let words = |list: &[&str]| list.iter().map(|&it| it.to_owned()).collect();
        let since = format!(
            "{}.{:09}",
            since_nanos.div_euclid(1_000_000_000),
            since_nanos.rem_euclid(1_000_000_000)
        );
        let filters = HashMap::from([
            ("type".to_owned(), words(&["container", "network"])),
            ("event".to_owned(), words(ACTIONS)),
        ]);
        let options = EventsOptions {
            since: Some(since),
            until: None,
            filters: Some(filters),
        };
        let docker = self.docker.clone();
        docker
            .events(Some(options))
            .map(|it| it.map(Event::read).map_err(EngineError::Engine))
    }

    /// Asks about one container, without its image.
    pub(super) async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, EngineError> {
        in_time(self.docker.inspect_container(id, None)).await
    }

    /// What an image carries; `None` when there is no such image any more.
    pub(super) async fn image(&self, id: &str) -> Result<Option<Image>, EngineError> {
        match in_time(self.docker.inspect_image(id)).await {
            Ok(found) => Ok(Some(Image::read(found))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Sorts out what an inspection brought.
pub(super) fn judge(
    inspected: Result<ContainerInspectResponse, EngineError>,
    image: Option<&Image>,
) -> Looked {
    match inspected {
        Ok(it) if !is_up(&it) => Looked::Down,
        Ok(it) => Container::read(it, image).map_or_else(
            || Looked::Unclear("the engine's answer is not complete".to_owned()),
            |it| Looked::Up(Box::new(it)),
        ),
        Err(error) if is_missing(&error) => Looked::Down,
        Err(error) => Looked::Unclear(error.to_string()),
    }
}

fn is_missing(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Engine(Error::DockerResponseServerError {
            status_code: 404,
            ..
        })
    )
}

async fn in_time<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, EngineError> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(EngineError::Late),
    }
}
