//! TLS to the server, and the verification of its certificate that the URL asks for.

use commerce_core::StoreError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;
use x509_cert::der::{Decode, Encode};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// The verification of the server.
#[derive(Debug)]
pub(crate) enum TlsTrust {
    /// No encryption and no verification.
    NoTls,
    /// Encryption without verification of the server.
    Unverified(SslMode),
    /// The certificate must be valid for the host of the URL, by the roots in a file or those of this machine.
    Roots(Option<PathBuf>),
}

impl TlsTrust {
    pub(crate) fn mode(&self) -> SslMode {
        match self {
            Self::NoTls => SslMode::Disable,
            Self::Unverified(mode) => *mode,
            Self::Roots(_) => SslMode::Require,
        }
    }
}

pub(crate) fn connector(trust: &TlsTrust) -> Result<MakeRustlsConnect, StoreError> {
    let failed = |error: &dyn std::fmt::Display| StoreError::Unavailable(format!("TLS: {error}"));
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| failed(&error))?;
    let config = match trust {
        TlsTrust::NoTls | TlsTrust::Unverified(_) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(UnverifiedServer(provider)))
            .with_no_client_auth(),
        TlsTrust::Roots(roots) => {
            builder.with_root_certificates(self::roots(roots.as_ref())?).with_no_client_auth()
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn roots(file: Option<&PathBuf>) -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let failed = |error: &dyn std::fmt::Display| {
        StoreError::Unavailable(format!("the roots in {}: {error}", file.display()))
    };
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(&error))? {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    Ok(roots)
}

/// Accepts any certificate: `sslmode=require` without roots promises encryption only. Even one of X.509 version 1, such as
/// Citus creates, of which rustls reads no key.
///
/// The server must own the key of its certificate nevertheless: the channel binding of a SCRAM login relies on it.
#[derive(Debug)]
struct UnverifiedServer(Arc<CryptoProvider>);

/// The length of the header of a short DER sequence.
const HEADER: usize = 2;

/// Returns the public key of a certificate of any version.
fn public_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoOwned, Error> {
    let certificate = x509_cert::Certificate::from_der(certificate);
    let certificate = certificate.map_err(|_| Error::from(CertificateError::BadEncoding))?;
    Ok(certificate.tbs_certificate.subject_public_key_info)
}

fn to_der(value: &impl Encode) -> Result<Vec<u8>, Error> {
    value.to_der().map_err(|_| CertificateError::BadEncoding.into())
}

impl ServerCertVerifier for UnverifiedServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key(certificate)?;
        let algorithm = to_der(&key.algorithm)?;
        let mapping = self.0.signature_verification_algorithms.mapping.iter();
        let of_scheme = mapping.filter(|(scheme, _)| *scheme == signed.scheme);
        let is_signed = of_scheme.flat_map(|(_, known)| known.iter()).any(|known| {
            algorithm.get(HEADER..) == Some(known.public_key_alg_id().as_ref())
                && known
                    .verify_signature(
                        key.subject_public_key.raw_bytes(),
                        message,
                        signed.signature(),
                    )
                    .is_ok()
        });
        if is_signed {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = to_der(&public_key(certificate)?)?;
        let key = SubjectPublicKeyInfoDer::from(key);
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
