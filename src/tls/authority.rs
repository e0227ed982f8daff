//! A private certificate authority for the demo and for tests, constrained by name to one
//! domain: whoever trusts it trusts it for nothing else (RFC 5280, section 4.2.1.10).

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};

use crate::{clock::Clock, tls::certificates::write_private};

/// A certificate authority and its key.
#[derive(Debug)]
pub struct Authority {
    domain: String,
    certificate_pem: String,
    key_pem: String,
}

/// Why there is no authority or certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate cannot be made.
    #[error("the certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// Its files cannot be read or written.
    #[error("the certificate's files cannot be read or written")]
    Files(#[from] std::io::Error),
}

impl Authority {
    /// A new one for `domain` and the names below it.
    pub fn generate(domain: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = own_params(domain)?;
        lasts(&mut params, 3650);
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            domain: domain.to_owned(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// The one in `dir` (`ca.pem`, `ca-key.pem`), or a new one put there.
    pub fn open(dir: &Path, domain: &str) -> Result<Self, AuthorityError> {
        let (certificate, key) = (dir.join("ca.pem"), dir.join("ca-key.pem"));
        if certificate.exists() && key.exists() {
            return Ok(Self {
                domain: domain.to_owned(),
                certificate_pem: fs::read_to_string(certificate)?,
                key_pem: fs::read_to_string(key)?,
            });
        }
        fs::create_dir_all(dir)?;
        let new = Self::generate(domain)?;
        write_private(&key, &new.key_pem)?;
        fs::write(&certificate, &new.certificate_pem)?;
        Ok(new)
    }

    /// Its certificate, to be trusted.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A server certificate for `names`: chain and key, as PEM.
    pub fn issue(&self, names: &[&str]) -> Result<(String, String), AuthorityError> {
        let issuer = Issuer::new(own_params(&self.domain)?, KeyPair::from_pem(&self.key_pem)?);
        let key = KeyPair::generate()?;
        let mut params =
            CertificateParams::new(names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        if let Some(first) = names.first() {
            params.distinguished_name.push(DnType::CommonName, *first);
        }
        lasts(&mut params, 397); // the longest that browsers accept of a leaf
        let certificate = params.signed_by(&key, &issuer)?;
        Ok((
            format!("{}{}", certificate.pem(), self.certificate_pem),
            key.serialize_pem(),
        ))
    }
}

/// What the authority says of itself; the same each time, so that it need not be read back.
fn own_params(domain: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(domain.to_owned())],
        excluded_subtrees: Vec::new(),
    });
    params.distinguished_name.push(
        DnType::CommonName,
        format!("Portcullis private CA for {domain}"),
    );
    Ok(params)
}

/// From yesterday (clocks differ) for `days`.
fn lasts(params: &mut CertificateParams, days: i64) {
    let today = Clock::system().now().secs().div_euclid(86_400);
    if let Some((from, to)) = day(today - 1).zip(day(today + days - 1)) {
        (params.not_before, params.not_after) = (from, to);
    }
}

fn day(since_epoch: i64) -> Option<time::OffsetDateTime> {
    time::OffsetDateTime::from_unix_timestamp(since_epoch * 86_400).ok()
}
