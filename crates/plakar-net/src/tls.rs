//! TLS: a server with a certificate, and clients that know it by its fingerprint, or by who signed it.
//!
//! A fingerprint is the SHA-256 of the certificate, as other tools show it. TLS 1.3 only.

use crate::connect::{Connect, Connecting, Stream};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime,
};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The SHA-256 of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &[u8]) -> Fingerprint {
        let digest = ::ring::digest::digest(&::ring::digest::SHA256, certificate);
        Fingerprint(digest.as_ref().try_into().expect("32 bytes"))
    }

    /// Reads 64 hexadecimal digits, with colons between or without.
    pub fn read(text: &str) -> Option<Fingerprint> {
        let digits = text.replace(':', "").to_ascii_lowercase();
        blake3::Hash::from_hex(digits).ok().map(|bytes| Fingerprint(*bytes.as_bytes()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// What both speak, the one that is preferred first.
fn protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

/// What a server shows, and proves to have the key of.
pub struct Identity {
    fingerprint: Fingerprint,
    pub(crate) acceptor: TlsAcceptor,
}

impl Identity {
    /// A certificate with those that vouch for it, and its key, of files in PEM.
    ///
    /// # Errors
    /// When they cannot be read, or do not belong together.
    pub fn of_files(certificate: &Path, key: &Path) -> io::Result<Identity> {
        let chain =
            CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let key = PrivateKeyDer::from_pem_file(key).map_err(other)?;
        Identity::new(chain.map_err(other)?, key)
    }

    /// A certificate that nobody vouches for, and its key, as [`make`](Self::make) has made them.
    ///
    /// # Errors
    /// When they are none.
    pub fn of_bytes(certificate: Vec<u8>, key: Vec<u8>) -> io::Result<Identity> {
        Identity::new(vec![certificate.into()], PrivatePkcs8KeyDer::from(key).into())
    }

    /// Makes a certificate, and its key. It says nothing: it is known by its fingerprint.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn make() -> io::Result<(Vec<u8>, Vec<u8>)> {
        let made = rcgen::generate_simple_self_signed(["plakar".to_owned()]).map_err(other)?;
        Ok((made.cert.der().to_vec(), made.signing_key.serialize_der()))
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> io::Result<Identity> {
        let first = chain.first().ok_or_else(|| other("there is no certificate in it"))?;
        let fingerprint = Fingerprint::of(first);
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(other)?;
        let mut config = config.with_no_client_auth().with_single_cert(chain, key).map_err(other)?;
        config.alpn_protocols = protocols();
        Ok(Identity { fingerprint, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// What clients are to know it by.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// Longer than it takes to reach anybody.
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// An address that is reached with TLS.
pub struct Tls {
    /// Host and port.
    address: String,
    host: ServerName<'static>,
    connector: TlsConnector,
    met: Arc<Mutex<Option<Fingerprint>>>,
    /// It is believed by its fingerprint only, if that is one of these.
    known: Option<Vec<Fingerprint>>,
}

impl Tls {
    /// A server that shows one of these certificates.
    ///
    /// # Errors
    /// When the host is no name of one.
    pub fn pinned(host: &str, port: u16, known: Vec<Fingerprint>) -> io::Result<Tls> {
        let met = Arc::new(Mutex::new(None));
        let pins =
            Arc::new(Pins { known: known.clone(), met: met.clone(), provider: ring::default_provider() });
        let config = client()?.dangerous().with_custom_certificate_verifier(pins).with_no_client_auth();
        Tls::new(host, port, config, met, Some(known))
    }

    /// A server for whose certificate somebody vouches whom this system trusts.
    ///
    /// # Errors
    /// When the host is no name of one, or the system trusts nobody.
    pub fn vouched(host: &str, port: u16) -> io::Result<Tls> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(other("this system has no certificates that it trusts"));
        }
        let config = client()?.with_root_certificates(roots).with_no_client_auth();
        Tls::new(host, port, config, Arc::default(), None)
    }

    fn new(
        host: &str,
        port: u16,
        mut config: ClientConfig,
        met: Arc<Mutex<Option<Fingerprint>>>,
        known: Option<Vec<Fingerprint>>,
    ) -> io::Result<Tls> {
        config.alpn_protocols = protocols();
        config.alpn_protocols.truncate(1);
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let host = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::IpAddress(address.into()),
            Err(_) => ServerName::try_from(host.to_owned()).map_err(other)?,
        };
        Ok(Tls { address, host, connector: TlsConnector::from(Arc::new(config)), met, known })
    }

    /// Where the fingerprint will be that the server showed, and had the key of, when it was reached last.
    pub fn met(&self) -> Arc<Mutex<Option<Fingerprint>>> {
        self.met.clone()
    }
}

type Wanting = tokio_rustls::rustls::ConfigBuilder<ClientConfig, tokio_rustls::rustls::WantsVerifier>;

fn client() -> io::Result<Wanting> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(other)
}

impl Connect for Tls {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            *self.met.lock().expect("no panic while held") = None;
            let reach = async {
                let stream = TcpStream::connect(&self.address).await?;
                // Answers are short and waited for.
                stream.set_nodelay(true)?;
                self.connector.connect(self.host.clone(), stream).await
            };
            let reached = timeout(CONNECT_MAX, reach).await;
            let reached = reached.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
            Ok(Box::new(reached.map_err(|e| self.told(e))?) as Box<dyn Stream>)
        })
    }

    fn peer(&self) -> String {
        self.address.clone()
    }
}

impl Tls {
    /// Why it was not reached; of a certificate that is not known, which one it is.
    fn told(&self, error: io::Error) -> io::Error {
        let met = *self.met.lock().expect("no panic while held");
        match met.zip(self.known.as_ref()) {
            Some((met, known)) if !known.contains(&met) => {
                io::Error::other(format!("its certificate is not known: its fingerprint is {met}"))
            }
            _ => error,
        }
    }
}

/// Believes whoever has the key of a certificate with one of these fingerprints, and nobody else.
#[derive(Debug)]
struct Pins {
    known: Vec<Fingerprint>,
    met: Arc<Mutex<Option<Fingerprint>>>,
    provider: CryptoProvider,
}

impl ServerCertVerifier for Pins {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let met = Fingerprint::of(certificate);
        *self.met.lock().expect("no panic while held") = Some(met);
        match self.known.contains(&met) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(TlsError::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_written() {
        let fingerprint = Fingerprint::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(fingerprint.to_string(), text);
        let pairs: Vec<_> = text.to_uppercase().as_bytes().chunks(2).map(<[u8]>::to_vec).collect();
        let colons = String::from_utf8(pairs.join(&b':')).unwrap();
        assert_eq!(Fingerprint::read(&colons), Some(fingerprint));
        assert_eq!(Fingerprint::read(text), Some(fingerprint));
        for bad in ["", "ba78", &text[1..], &format!("{text}00"), &text.replace('b', "g")] {
            assert_eq!(Fingerprint::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_belongs_together_is_an_identity() {
        let (certificate, key) = Identity::make().unwrap();
        let (_, other) = Identity::make().unwrap();
        assert!(Identity::of_bytes(certificate.clone(), other).is_err());
        assert!(Identity::of_bytes(b"nonsense".to_vec(), key.clone()).is_err());
        let identity = Identity::of_bytes(certificate.clone(), key).unwrap();
        assert_eq!(identity.fingerprint(), Fingerprint::of(&certificate));
    }
}
