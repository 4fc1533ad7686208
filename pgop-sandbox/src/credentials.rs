//! Certificates, keys and the token of a sandbox: made once, kept in its folder.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::folder::{self, FolderError};

/// A sandbox that is older than its certificates makes new ones when it starts.
const LIFE: Duration = Duration::days(3650);

/// Why there are no credentials.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// A certificate could not be made.
    #[error("can't make a certificate: {0}")]
    Generate(#[source] rcgen::Error),
    /// The name in a certificate is none.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// What clients and the server prove themselves with. All certificates are PEM.
#[derive(Clone)]
pub struct Credentials {
    /// The authority that signed the server's certificate.
    pub ca: String,
    /// The server's certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Bearer token of the administrator.
    pub token: String,
}

impl Credentials {
    /// Those of the folder, made when it has none.
    pub fn load(folder: &Path) -> Result<Self, CredentialsError> {
        folder::make(folder)?;
        let names = ["ca.pem", "server.pem", "server.key", "token"];
        let mut found = Vec::new();
        for name in names {
            found.extend(folder::read(&folder.join(name))?);
        }
        if let Ok([ca, certificate, key, token]) = <[String; 4]>::try_from(found) {
            return Ok(Self {
                ca,
                certificate,
                key,
                token,
            });
        }
        let made = Self::generate(OffsetDateTime::now_utc()).map_err(CredentialsError::Generate)?;
        for (name, text) in names.iter().zip([&made.ca, &made.certificate, &made.key, &made.token]) {
            folder::write(&folder.join(name), text)?;
        }
        Ok(made)
    }

    /// New ones. The authority's key signs once and is forgotten.
    fn generate(now: OffsetDateTime) -> Result<Self, rcgen::Error> {
        let authority_key = KeyPair::generate()?;
        let mut authority = params("pgop-sandbox authority", now);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let key = KeyPair::generate()?;
        let mut server = params("pgop-sandbox", now);
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ] {
            server.subject_alt_names.push(rcgen::SanType::DnsName(name.try_into()?));
        }
        for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 96, 0, 1)] {
            server
                .subject_alt_names
                .push(rcgen::SanType::IpAddress(IpAddr::V4(address)));
        }
        let certificate = server.signed_by(&key, &issuer)?;
        Ok(Self {
            ca: authority_certificate.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            token: token(),
        })
    }
}

fn params(name: &str, now: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // Clocks of one machine agree; the minute is for those that were set back.
    params.not_before = now - Duration::MINUTE;
    params.not_after = now + LIFE;
    params
}

fn token() -> String {
    use rand::distr::{Alphanumeric, SampleString};
    Alphanumeric.sample_string(&mut rand::rng(), 48)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_made_once() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("credentials");
        let first = Credentials::load(&folder).unwrap();
        let again = Credentials::load(&folder).unwrap();
        assert_eq!(first.token, again.token);
        assert_eq!(first.certificate, again.certificate);
        assert_eq!(first.token.len(), 48);
        assert!(first.ca.starts_with("-----BEGIN CERTIFICATE-----") && first.key.contains("PRIVATE KEY"));
        // One file that is lost makes all of them new: a key without its certificate is of no use.
        std::fs::remove_file(folder.join("server.key")).unwrap();
        assert_ne!(Credentials::load(&folder).unwrap().certificate, first.certificate);
    }
}
