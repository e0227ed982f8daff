//! Places where a test may kill the process, to see what is left.
//!
//! `PORTCULLIS_FAILPOINT=add_user.inside:3` aborts the process the third time that `add_user`
//! is about to commit. Every write of the store has three: `<verb>.before` its transaction,
//! `.inside`, when all is written and nothing is committed, and `.after` the commit, when
//! nothing has been answered yet. `write.before`, `write.inside` and `write.after` count all
//! verbs. Without the variable a hit costs one load.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use crate::config::failpoint::failpoint;

/// Where in a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Nothing has happened.
    Before,
    /// All is written, nothing committed.
    Inside,
    /// Committed, not answered.
    After,
}

impl Point {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Inside => "inside",
            Self::After => "after",
        }
    }
}

#[derive(Debug, PartialEq)]
struct Armed {
    verb: String,
    point: String,
    /// How many hits are left.
    left: u32,
}

fn parse(text: &str) -> Option<Armed> {
    let (place, left) = text.rsplit_once(':').unwrap_or((text, "1"));
    let (verb, point) = place.split_once('.')?;
    Some(Armed {
        verb: verb.to_owned(),
        point: point.to_owned(),
        left: left.parse().ok()?,
    })
}

static ARMED: OnceLock<Option<(Armed, AtomicU32)>> = OnceLock::new();

/// Dies here if it was asked to.
pub fn hit(verb: &str, point: Point) {
    let armed = ARMED.get_or_init(|| {
        let armed = parse(&failpoint()?)?;
        let left = AtomicU32::new(armed.left);
        Some((armed, left))
    });
    let Some((armed, left)) = armed else { return };
    if armed.point == point.as_str()
        && (armed.verb == verb || armed.verb == "write")
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_is_a_verb_a_point_and_a_count() {
        let armed = |verb: &str, point: &str, left| Armed {
            verb: verb.to_owned(),
            point: point.to_owned(),
            left,
        };
        assert_eq!(
            parse("add_user.inside:3"),
            Some(armed("add_user", "inside", 3))
        );
        assert_eq!(parse("write.after"), Some(armed("write", "after", 1)));
        assert_eq!(parse("nonsense"), None);
        assert_eq!(parse("a.b:x"), None);
    }
}
