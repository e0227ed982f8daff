//! The target that an upstream is asked for.

use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{
    forward::ForwardError,
    intake::{Inbound, path::Decided},
    route::PathRoute,
};

/// What nginx encodes in a path that it writes anew.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'#').add(b'%').add(b'?').add(b'"');

/// Path and query exactly as they came, unless `VIRTUAL_DEST` replaces the matched prefix: then,
/// as nginx does it, the rest is the decoded path's, encoded anew.
pub(super) fn target(path: &PathRoute, inbound: &Inbound) -> Result<PathAndQuery, ForwardError> {
    let Some((prefix, dest)) = path.replaced() else {
        return Ok(inbound.target.clone());
    };
    let came = inbound.target.as_str();
    let (raw, query) = match came.split_once('?') {
        Some((raw, query)) => (raw, Some(query)),
        None => (came, None),
    };
    let decided = match &inbound.path {
        Decided::Plain(path) => path.as_str(),
        // Refused before it gets here: with `dest` the path matters.
        Decided::Ambiguous => raw,
    };
    let rest = decided.strip_prefix(prefix).unwrap_or(decided);
    let mut out = String::with_capacity(dest.len() + came.len());
    if !dest.starts_with('/') {
        out.push('/');
    }
    out.push_str(dest);
    out.extend(utf8_percent_encode(rest, ENCODED));
    if let Some(query) = query {
        out.push('?');
        out.push_str(query);
    }
    // What was let in is a path and query; a rewritten one that is none goes nowhere.
    PathAndQuery::try_from(out).map_err(|_| ForwardError::BodyBroken)
}
