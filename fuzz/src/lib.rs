//! What the targets share: places and owners that never change, the same bytes cut in different
//! ways, and a second reading of Socket.IO to hold ours against.

use portcullis::{
    config::{SocketIo, SocketRules},
    name::{HostName, TenantId, UserId},
    route::Tighten,
    secret::SealingKey,
    socket::{
        conversation::Terms,
        seal::{Owner, Sealer},
    },
};

pub mod polling;
pub mod socketio;

/// The replica that every connection leads to.
pub const REPLICA: &str = "0a0b0c0d";

/// A key that never changes, so that an input means the same in every run.
pub fn key() -> SealingKey {
    SealingKey::from_bytes([7; 32])
}

/// A host, known to be one.
pub fn host(text: &str) -> HostName {
    HostName::parse(text).expect("a host")
}

/// The terms of a connection of alice's, with these namespaces (none: any).
pub fn terms(namespaces: &[&str]) -> Terms {
    let owner = Owner {
        host: &host("r1.example.com"),
        tenant: &TenantId::from("t1"),
        user: Some(&UserId::from("alice")),
        login: Some([1; 32]),
    };
    let socketio = SocketIo {
        namespaces: namespaces.iter().map(|&it| it.to_owned()).collect(),
        ..SocketIo::default()
    };
    let rules = SocketRules {
        max_message: 1 << 16,
        max_polling_packets: 16,
        ..SocketRules::default()
    };
    let seal = Sealer::new(&key()).for_owner(&owner);
    Terms::new(
        seal,
        REPLICA.to_owned(),
        None,
        &socketio,
        &Tighten::default(),
        &rules,
    )
}

/// `bytes` in pieces whose sizes hang on the bytes alone: mostly a few bytes, now and then many.
pub fn pieces(bytes: &[u8]) -> Vec<&[u8]> {
    let mut seed = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    let (mut out, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let size = match seed % 8 {
            0..=5 => 1 + (seed >> 8) % 9,
            _ => 1 + (seed >> 8) % 300,
        };
        let (piece, after) = rest.split_at(rest.len().min(size as usize));
        out.push(piece);
        rest = after;
    }
    out
}
