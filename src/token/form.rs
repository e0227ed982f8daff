//! The outer form of a JWT, read strictly: three parts of base64url, a header with exactly
//! `typ`, `alg` and `kid`, no member twice.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Kind, TokenError};

/// No token of ours is larger, in bytes.
pub(super) const LARGEST: usize = 8 * 1024;

/// A JWS in compact form, not yet verified.
pub(super) struct Compact<'a> {
    header: &'a str,
    payload: &'a str,
    /// `header.payload`, what the signature is over.
    pub(super) signed: &'a str,
    /// base64url.
    pub(super) signature: &'a str,
}

/// The only members that we write. Anything else, `jwk`, `jku`, `x5u` and `crit` first, is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    typ: String,
    alg: String,
    kid: String,
}

impl<'a> Compact<'a> {
    /// Splits the token.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > LARGEST {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') || signature.is_empty() {
            return Err(TokenError::Malformed);
        }
        Ok(Self {
            header,
            payload,
            signed,
            signature,
        })
    }

    /// Reads the header, which must be one of `kind`; gives the `kid`.
    pub(super) fn header(&self, kind: Kind, alg: &str) -> Result<String, TokenError> {
        let bytes = decode(self.header)?;
        let header: Header = serde_json::from_slice(&bytes).map_err(|_| TokenError::Kind)?;
        if header.typ != kind.typ() || header.alg != alg {
            return Err(TokenError::Kind);
        }
        Ok(header.kid)
    }

    /// Reads the claims. Only after the signature was found good.
    pub(super) fn claims<T: DeserializeOwned>(&self) -> Result<T, TokenError> {
        serde_json::from_slice(&decode(self.payload)?).map_err(|_| TokenError::Malformed)
    }
}

/// The kind that a token's header names, whatever else is in it.
pub(super) fn kind_of(token: &str) -> Option<Kind> {
    #[derive(Deserialize)]
    struct Typ {
        typ: String,
    }
    let (header, _) = token.split_once('.')?;
    if header.len() > LARGEST {
        return None;
    }
    let bytes = decode(header).ok()?;
    // A repeated `typ` is no header of ours and would not verify either.
    let Typ { typ } = serde_json::from_slice(&bytes).ok()?;
    Kind::ALL.into_iter().find(|it| it.typ() == typ)
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l8_a_token_may_be_8_kib_and_not_a_byte_more() {
        let sized =
            |length: usize| Compact::parse(&format!("{}.b.c", "a".repeat(length - 4))).err();
        assert_eq!(sized(8192), None);
        assert_eq!(sized(8193), Some(TokenError::Malformed));
    }

    #[test]
    fn a_header_of_8_kib_still_tells_its_kind() {
        // In base64url a length of `4n + 1` does not occur.
        let kind = |bytes: usize| {
            let header = format!("{:bytes$}", r#"{"typ":"portcullis-session+jwt"}"#);
            kind_of(&format!("{}.b.c", URL_SAFE_NO_PAD.encode(header)))
        };
        assert_eq!(kind(8192 / 4 * 3), Some(Kind::Session));
        assert_eq!(kind(8192 / 4 * 3 + 1), None);
    }
}
