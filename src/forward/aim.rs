//! The target that an upstream is asked for.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{
    intake::{Inbound, path::Decided},
    route::PathRoute,
};

/// What nginx encodes in a path that it writes anew.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'#').add(b'%').add(b'?').add(b'"');

/// Path and query exactly as they came, unless `VIRTUAL_DEST` replaces the matched prefix: then,
/// as nginx does it, the rest is the decoded path's, encoded anew.
pub(super) fn target<'a>(path: &PathRoute, inbound: &'a Inbound) -> Cow<'a, str> {
    let Some((prefix, dest)) = path.replaced() else {
        return Cow::Borrowed(&inbound.target);
    };
    let (raw, query) = match inbound.target.split_once('?') {
        Some((raw, query)) => (raw, Some(query)),
        None => (inbound.target.as_str(), None),
    };
    let decided = match &inbound.path {
        Decided::Plain(path) => path.as_str(),
        // Refused before it gets here: with `dest` the path matters.
        Decided::Ambiguous => raw,
    };
    let rest = decided.strip_prefix(prefix).unwrap_or(decided);
    let mut out = String::with_capacity(dest.len() + inbound.target.len());
    if !dest.starts_with('/') {
        out.push('/');
    }
    out.push_str(dest);
    out.extend(utf8_percent_encode(rest, ENCODED));
    if let Some(query) = query {
        out.push('?');
        out.push_str(query);
    }
    Cow::Owned(out)
}
