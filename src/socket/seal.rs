//! Engine.IO and Socket.IO ids that are worth something only to who was given them.
//!
//! An Engine.IO `sid` lets its bearer poll somebody's messages; a Socket.IO `pid` lets them
//! take over somebody's connection state. So what we hand out is `<id>.<replica>.<MAC>`, with
//! the MAC over what kind it is, the host, the tenant, the user and their login. Equal for equal
//! input: clients compare a `pid` with the one before. Nothing is kept, so any gateway with the
//! key can check it, also after a restart.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    authz::Permit,
    name::{HostName, TenantId, UserId},
    secret::{self, SealingKey},
    store::Digest,
};

/// Bytes of the MAC that are kept.
const MAC: usize = 16;
/// Longest id of an upstream that we seal.
const LONGEST_ID: usize = 128;

/// The key, made once.
#[derive(Clone, Debug)]
pub struct Sealer(Arc<hmac::Key>);

impl Sealer {
    /// Derives it from the gateway's sealing key.
    pub fn new(key: &SealingKey) -> Self {
        Self(Arc::new(key.mac_key("engineio")))
    }

    /// Seals and opens for whom `permit` was given to.
    pub fn for_permit(&self, permit: &Permit) -> Seal {
        let cell = permit.identity().map(|it| &it.lease.cell);
        self.for_owner(&Owner {
            host: &permit.ask().host,
            tenant: permit.tenant(),
            user: cell.map(|it| &it.user),
            login: cell.map(|it| it.sid),
        })
    }

    /// Seals and opens for one owner.
    pub fn for_owner(&self, owner: &Owner<'_>) -> Seal {
        let mut context = Vec::with_capacity(128);
        for part in [
            owner.host.as_str().as_bytes(),
            owner.tenant.as_str().as_bytes(),
            owner.user.map_or("", UserId::as_str).as_bytes(),
            owner.login.as_ref().map_or(&[][..], <[u8; 32]>::as_slice),
        ] {
            push(&mut context, part);
        }
        Seal {
            key: self.clone(),
            context: context.into(),
        }
    }
}

/// Whose ids.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The host.
    pub host: &'a HostName,
    /// The tenant behind it.
    pub tenant: &'a TenantId,
    /// The user; `None` where nobody has to sign in.
    pub user: Option<&'a UserId>,
    /// The login: its `sid`'s digest.
    pub login: Option<Digest>,
}

/// What kind of id; one never passes for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of an Engine.IO connection of version 4.
    Sid,
    /// Of one of version 3.
    SidThree,
    /// The private id with which Socket.IO recovers a connection's state.
    Pid,
}

/// Seals and opens ids for one owner. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Seal {
    key: Sealer,
    context: Arc<[u8]>,
}

/// What an upstream's own id was, and which replica of it gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened<'a> {
    /// The upstream's own id.
    pub id: &'a str,
    /// The replica's short name, from [`replica`].
    pub replica: &'a str,
}

impl Seal {
    /// The form of `id` that is handed out. `None` when the upstream's id is not of the letters
    /// that ids are made of.
    pub fn seal(&self, kind: Kind, replica: &str, id: &str) -> Option<String> {
        if !is_id(id) || !is_replica(replica) {
            return None;
        }
        let mac = URL_SAFE_NO_PAD.encode(self.mac(kind, replica, id));
        Some(format!("{id}.{replica}.{mac}"))
    }

    /// Opens what [`Seal::seal`] made for the same owner and kind.
    pub fn open<'a>(&self, kind: Kind, sealed: &'a str) -> Option<Opened<'a>> {
        let (front, mac) = sealed.rsplit_once('.')?;
        let (id, replica) = front.rsplit_once('.')?;
        if !is_id(id) || !is_replica(replica) {
            return None;
        }
        let expected = URL_SAFE_NO_PAD.encode(self.mac(kind, replica, id));
        secret::equal(expected.as_bytes(), mac.as_bytes()).then_some(Opened { id, replica })
    }

    fn mac(&self, kind: Kind, replica: &str, id: &str) -> [u8; MAC] {
        let mut context = hmac::Context::with_key(&self.key.0);
        context.update(match kind {
            Kind::Sid => b"sid",
            Kind::SidThree => b"si3",
            Kind::Pid => b"pid",
        });
        context.update(&self.context);
        let mut rest = Vec::with_capacity(64);
        push(&mut rest, replica.as_bytes());
        push(&mut rest, id.as_bytes());
        context.update(&rest);
        let tag = context.sign();
        let mut out = [0; MAC];
        for (to, from) in out.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        out
    }
}

/// The short name of the replica at `address`: 8 hexadecimal digits.
pub fn replica(address: std::net::SocketAddr) -> String {
    let [a, b, c, d, ..] = secret::digest(&address.to_string());
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

/// A part and, in front of it, its length: two lists of parts never run together alike.
fn push(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&(part.len() as u64).to_be_bytes());
    out.extend_from_slice(part);
}

fn is_id(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.~".contains(&b))
}

fn is_replica(replica: &str) -> bool {
    (1..=32).contains(&replica.len()) && replica.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn seal_of(user: &str, login: u8) -> Seal {
        let sealer = Sealer::new(&SealingKey::from_bytes([7; 32]));
        sealer.for_owner(&Owner {
            host: &HostName::parse("r1.example.com").unwrap(),
            tenant: &TenantId::from("t1"),
            user: Some(&UserId::from(user)),
            login: Some([login; 32]),
        })
    }

    #[test]
    fn a_sealed_id_opens_for_its_owner_and_kind_alone() {
        let alice = seal_of("alice", 1);
        let sealed = alice.seal(Kind::Sid, "0a0b", "6_apJ.x-Y").unwrap();
        assert_eq!(alice.seal(Kind::Sid, "0a0b", "6_apJ.x-Y").unwrap(), sealed);
        assert_eq!(
            alice.open(Kind::Sid, &sealed),
            Some(Opened {
                id: "6_apJ.x-Y",
                replica: "0a0b"
            })
        );
        assert_eq!(alice.open(Kind::Pid, &sealed), None);
        assert_eq!(seal_of("bob", 1).open(Kind::Sid, &sealed), None);
        assert_eq!(seal_of("alice", 2).open(Kind::Sid, &sealed), None);
    }

    #[test]
    fn w11_no_byte_of_a_sealed_id_can_be_changed() {
        let alice = seal_of("alice", 1);
        let sealed = alice.seal(Kind::Sid, "0a0b", "abc").unwrap();
        for at in 0..sealed.len() {
            let mut bent = sealed.clone().into_bytes();
            bent[at] = if bent[at] == b'x' { b'y' } else { b'x' };
            let bent = String::from_utf8(bent).unwrap();
            assert_eq!(alice.open(Kind::Sid, &bent), None, "{bent}");
            assert_eq!(alice.open(Kind::Sid, &sealed[..at]), None);
        }
    }

    #[test]
    fn replicas_have_short_names_of_their_own() {
        let name = |port| replica(([127, 0, 0, 1], port).into());
        assert_eq!(name(1880), name(1880));
        assert_ne!(name(1880), name(1881));
        assert!(name(1880).len() == 8 && name(1880).bytes().all(|it| it.is_ascii_hexdigit()));
    }

    #[test]
    fn an_id_of_other_letters_is_not_sealed() {
        for bad in ["", "a b", "a\"b", "a&b", "é"] {
            assert_eq!(seal_of("alice", 1).seal(Kind::Pid, "0a0b", bad), None);
        }
        let named = |replica: &str| seal_of("alice", 1).seal(Kind::Pid, replica, "abc");
        for bad in ["", "a.b", &"a".repeat(33)] {
            assert_eq!(named(bad), None);
        }
        assert!(named(&"a".repeat(32)).is_some());
    }
}
