//! Whose container it is: the compose project or Swarm stack that made it, or else itself.

use crate::{
    config::Claims,
    docker::{Container, Origin},
};

/// The owner as claims write it: `project:<name>`, `stack:<name>`, `service:<project>/<name>`
/// or `container:<name>`.
///
/// A label that the image itself carries proves nothing, since whoever builds an image could
/// then claim to be anybody's project. Compose labels the images that it builds, however, in
/// the same words as the containers that it makes from them; such a container is known by
/// `com.docker.compose.config-hash`, which only the making of a container can give it and
/// which is never in an image that compose built.
pub(super) fn owner_of(container: &Container, claims: Claims) -> String {
    let compose_made_it = own(container, "com.docker.compose.config-hash").is_some();
    let compose = |name: &str| {
        if compose_made_it {
            any(container, name)
        } else {
            own(container, name)
        }
    };
    let group = compose("com.docker.compose.project")
        .map(|it| ("project", it, compose("com.docker.compose.service")))
        .or_else(|| {
            let stack = own(container, "com.docker.stack.namespace")?;
            Some((
                "stack",
                stack,
                own(container, "com.docker.swarm.service.name"),
            ))
        });
    match (group, claims) {
        (Some((_, group, Some(service))), Claims::Strict) => format!("service:{group}/{service}"),
        (Some((kind, group, _)), Claims::Project | Claims::Off) => format!("{kind}:{group}"),
        (Some((_, _, None)), Claims::Strict) | (None, _) => format!("container:{}", container.name),
    }
}

fn own<'a>(container: &'a Container, label: &str) -> Option<&'a str> {
    let setting = container.labels.get(label)?;
    let value = setting.value.as_str();
    (setting.origin == Origin::Run && is_name(value)).then_some(value)
}

fn any<'a>(container: &'a Container, label: &str) -> Option<&'a str> {
    let value = container.labels.get(label)?.value.as_str();
    is_name(value).then_some(value)
}

/// What compose and Swarm take for a name; anything else could be made to look like another
/// owner's.
fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::samples::container;

    #[test]
    fn a_project_owns_what_it_runs_and_a_lone_container_itself() {
        let mut lone = container("r1");
        assert_eq!(owner_of(&lone, Claims::Project), "container:r1");
        lone.label("com.docker.compose.project", "alpha", Origin::Run);
        lone.label("com.docker.compose.service", "web", Origin::Run);
        assert_eq!(owner_of(&lone, Claims::Project), "project:alpha");
        assert_eq!(owner_of(&lone, Claims::Strict), "service:alpha/web");
    }

    #[test]
    fn a_stack_owns_its_services() {
        let mut task = container("web.1.x");
        task.label("com.docker.stack.namespace", "beta", Origin::Run);
        task.label("com.docker.swarm.service.name", "beta_web", Origin::Run);
        assert_eq!(owner_of(&task, Claims::Project), "stack:beta");
        assert_eq!(owner_of(&task, Claims::Strict), "service:beta/beta_web");
    }

    #[test]
    fn an_image_cannot_say_whose_container_it_is() {
        let mut evil = container("evil");
        evil.label("com.docker.compose.project", "alpha", Origin::Image);
        evil.label("com.docker.compose.config-hash", "0", Origin::Image);
        assert_eq!(owner_of(&evil, Claims::Project), "container:evil");
        evil.label("com.docker.compose.project", "alpha", Origin::Unknown);
        assert_eq!(owner_of(&evil, Claims::Project), "container:evil");
    }

    #[test]
    fn an_image_that_compose_built_does_not_orphan_its_containers() {
        let mut built = container("alpha-web-1");
        built.label("com.docker.compose.project", "alpha", Origin::Image);
        built.label("com.docker.compose.config-hash", "0", Origin::Run);
        assert_eq!(owner_of(&built, Claims::Project), "project:alpha");
    }

    #[test]
    fn a_name_that_could_be_read_as_two_is_none() {
        let mut odd = container("odd");
        odd.label("com.docker.compose.project", "a/b", Origin::Run);
        assert_eq!(owner_of(&odd, Claims::Project), "container:odd");
    }
}
