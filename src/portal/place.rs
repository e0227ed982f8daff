//! Where a request comes from and where an answer leads.

use http::HeaderValue;

use crate::{
    authz::sibling::{Fetch, Site},
    intake::Inbound,
    name::HostName,
    reply::Refusal,
};

/// `https://<host>[:port]`, as browsers write it in `Origin`. `port` is the one in `Host`.
pub fn origin(host: &HostName, port: Option<u16>) -> String {
    let port = port.map(|it| format!(":{it}")).unwrap_or_default();
    if host.as_str().contains(':') {
        format!("https://[{host}]{port}")
    } else {
        format!("https://{host}{port}")
    }
}

/// Text of ours as a header; what cannot be one leads to the front page.
pub(super) fn header(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("/"))
}

/// Refuses a form or a call that none of our own pages sent. Tenants are same-site with us, so
/// `same-site` is as good as a stranger; without Fetch Metadata the `Origin` must be exactly ours.
pub(super) fn must_be_our_own_page(inbound: &Inbound) -> Result<(), Refusal> {
    let fetch = Fetch::read(&inbound.headers);
    let ours = origin(&inbound.host, inbound.port);
    let own_origin = fetch.origin.as_deref() == Some(ours.as_str());
    let is_own = if fetch.present {
        // An Origin that is there and names somebody else is not made good by anything.
        let elsewhere = fetch
            .origin
            .as_deref()
            .is_some_and(|it| it != ours && it != "null");
        fetch.site == Some(Site::SameOrigin) && !elsewhere
    } else {
        own_origin
    };
    if is_own {
        Ok(())
    } else {
        Err(Refusal::CrossSite)
    }
}
