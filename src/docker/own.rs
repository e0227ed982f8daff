//! Which container the gateway itself runs in, if any: only addresses on networks that it
//! shares can be reached from there.

use super::container::{Attached, Container};

/// The networks that the gateway can reach containers by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum GatewayNetworks {
    /// It runs on the host itself, or shares the host's network: every bridge is in reach.
    #[default]
    Host,
    /// It runs in a container on these networks.
    Container(Vec<Attached>),
}

impl GatewayNetworks {
    /// What the gateway's own container says.
    pub(super) fn of(container: &Container) -> Self {
        if container.on_host {
            Self::Host
        } else {
            Self::Container(container.networks.clone())
        }
    }
}

/// Reads the id of the container that this process runs in.
pub(super) fn own_id() -> Option<String> {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    from_mounts(&read("/proc/self/mountinfo")).or_else(|| from_cgroup(&read("/proc/self/cgroup")))
}

/// The engine mounts `/etc/hostname` out of the container's own folder. Other mounts prove
/// nothing: on the host those of every container are to be seen.
fn from_mounts(mountinfo: &str) -> Option<String> {
    mountinfo.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        if !matches!(at, "/etc/hostname" | "/etc/hosts" | "/etc/resolv.conf") {
            return None;
        }
        root.split('/').find_map(as_id)
    })
}

fn from_cgroup(cgroup: &str) -> Option<String> {
    cgroup.lines().find_map(|line| {
        let last = line.rsplit('/').next()?;
        as_id(last.strip_prefix("docker-").unwrap_or(last))
    })
}

fn as_id(text: &str) -> Option<String> {
    let text = text.strip_suffix(".scope").unwrap_or(text);
    let is_id = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1045c55c38ecb59568fcaf7d427fa20dd3ee988ee81e4a2e8d221e0d81c73be2";

    #[test]
    fn in_a_container_the_mounts_tell_its_id() {
        let line = format!(
            "612 598 254:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/vda1 rw"
        );
        assert_eq!(from_mounts(&line).as_deref(), Some(ID));
    }

    #[test]
    fn on_the_host_other_containers_mounts_are_not_ours() {
        let line =
            format!("612 598 0:50 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw");
        assert_eq!(from_mounts(&line), None);
        assert_eq!(
            from_cgroup("0::/user.slice/user-0.slice/session-1.scope"),
            None
        );
    }

    #[test]
    fn both_kinds_of_cgroup_tell_it_too() {
        assert_eq!(
            from_cgroup(&format!("4:memory:/docker/{ID}")).as_deref(),
            Some(ID)
        );
        let scope = format!("0::/system.slice/docker-{ID}.scope");
        assert_eq!(from_cgroup(&scope).as_deref(), Some(ID));
    }
}
