//! Answers that lead elsewhere.

use http::{HeaderValue, Response, StatusCode, header};

use super::headers::{self, Referrer};
use crate::body::Body;

/// 303: go there with GET, whatever this was.
pub fn see_other(location: HeaderValue) -> Response<Body> {
    lead(StatusCode::SEE_OTHER, location)
}

/// 302, to sign in.
pub fn found(location: HeaderValue) -> Response<Body> {
    lead(StatusCode::FOUND, location)
}

fn lead(status: StatusCode, location: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    headers::secure(&mut response, Referrer::None);
    response.headers_mut().insert(header::LOCATION, location);
    response
}
