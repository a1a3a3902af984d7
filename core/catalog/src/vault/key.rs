//! The vault's key: what turns identifiers into ids that nobody outside can compute or reverse.

use super::{
    error::{Context, KeyError, Result},
    fs::{create_temporary, publish, sync_parent},
};
use clinmill_model::Sensitive;
use clinmill_sdk::regular;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::{
    fmt,
    fs::Metadata,
    io::{self, Read, Write},
    path::Path,
};

/// First word of a key file.
const MAGIC: &str = "clinmill-vault-key-v1";

/// 32 secret random bytes, ready for use: the key's state is computed once and copied per call. Never printed.
#[derive(Clone)]
pub struct VaultKey {
    state: Hmac<Sha256>,
}

impl VaultKey {
    /// The key a person gives as a secret: 64 hexadecimal digits, base64 (plain or URL-safe, padded or not) or 32 raw
    /// bytes; white space around text is ignored.
    ///
    /// # Errors
    /// When it is empty, of another form, or plainly not random.
    pub fn from_secret(secret: &[u8]) -> Result<Self, KeyError> {
        let text = secret.trim_ascii();
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        let bytes = match <[u8; 32]>::try_from(secret) {
            // 32 printable bytes are a passphrase or a shorter key in hexadecimal.
            Ok(raw) if raw.iter().all(|b| (0x20..0x7f).contains(b)) => return Err(KeyError::LowEntropy),
            Ok(raw) => raw,
            Err(_) => decode_hex(text)
                .or_else(|| decode_base64(text))
                .ok_or(KeyError::Format)?,
        };
        Self::from_bytes(&bytes)
    }

    /// Reads `<vault>/key`.
    ///
    /// # Errors
    /// [`KeyError::Missing`] when there is none; typed errors when others than the owner may read it, when it is
    /// empty, damaged or not random.
    pub fn read(path: &Path) -> Result<Self> {
        let file = match regular::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(KeyError::Missing.into()),
            other => other.vault("read", "key")?,
        };
        let metadata = file.metadata().vault("read", "key")?;
        if readable_by_others(&metadata) {
            return Err(KeyError::Readable.into());
        }
        let mut text = Vec::new();
        file.take(1024).read_to_end(&mut text).vault("read", "key")?;
        Ok(Self::parse(&text)?)
    }

    /// Makes a key of 32 random bytes and writes it to `path`, mode 0600, durable. Whether one may be made is the
    /// caller's to know: [`super::Vault::key_auto`].
    ///
    /// # Errors
    /// [`KeyError::Exists`] when there is one already; what the system says.
    pub fn create(path: &Path) -> Result<Self> {
        if path.try_exists().vault("read", "key")? {
            return Err(KeyError::Exists.into());
        }
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes).map_err(|_| KeyError::NoRandom)?;
        let key = Self::from_bytes(&bytes)?;
        let text = Sensitive::new(format!("{MAGIC} {} {}\n", key.key_check(), hex(&bytes)));
        let folder = path.parent().unwrap_or(Path::new("."));
        let (mut file, temporary) = create_temporary(folder).vault("write", "key")?;
        file.write_all(text.expose().as_bytes()).vault("write", "key")?;
        publish(&file, temporary, path).vault("write", "key")?;
        sync_parent(path).vault("write", "key")?;
        Ok(key)
    }

    /// The first 16 bytes of HMAC-SHA-256 over the domain and the parts, each preceded by its length, so that no two
    /// lists of parts run together. `domain` keeps uses apart: `subject`, `row`, `event` ...
    #[inline]
    pub fn hmac128(&self, domain: &str, parts: &[&[u8]]) -> [u8; 16] {
        let mut message = Vec::with_capacity(SHORT);
        feed(&mut message, domain.as_bytes());
        for part in parts {
            feed(&mut message, part);
        }
        let mut mac = self.state.clone();
        mac.update(&message);
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        let mut out = [0u8; 16];
        out.copy_from_slice(&full[..16]);
        out
    }

    /// The key check value: the first four bytes of HMAC("kcv") in hexadecimal. Safe to publish; tells two keys apart
    /// without telling anything about them.
    pub fn key_check(&self) -> String {
        let mut mac = self.state.clone();
        mac.update(b"kcv");
        hex(&mac.finalize().into_bytes()[..4])
    }

    fn parse(file: &[u8]) -> Result<Self, KeyError> {
        if file.trim_ascii().is_empty() {
            return Err(KeyError::Empty);
        }
        let text = std::str::from_utf8(file).map_err(|_| KeyError::Damaged)?;
        let mut words = text.split_ascii_whitespace();
        let (Some(MAGIC), Some(check), Some(digits), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(KeyError::Damaged);
        };
        let bytes = decode_hex(digits.as_bytes()).ok_or(KeyError::Damaged)?;
        let key = Self::from_bytes(&bytes)?;
        if key.key_check() == check {
            Ok(key)
        } else {
            Err(KeyError::Damaged)
        }
    }

    fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        if !looks_random(bytes) {
            return Err(KeyError::LowEntropy);
        }
        let state = Hmac::<Sha256>::new_from_slice(bytes).map_err(|_| KeyError::Format)?;
        Ok(Self { state })
    }
}

impl fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultKey([redacted])")
    }
}

/// A 128-bit id as text: 26 characters of RFC 4648 section 7 base32 (extended hex: texts
/// sort as the ids do), lower case, without padding.
pub fn base32(id: &[u8; 16]) -> String {
    String::from_utf8_lossy(&base32_ascii(id)).into_owned()
}

/// [`base32`] without an allocation: ASCII bytes for a string builder.
#[inline]
pub fn base32_ascii(id: &[u8; 16]) -> [u8; 26] {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    // 26 digits are 130 bits: two zero bits follow the id.
    let value = u128::from_be_bytes(*id);
    let mut out = [0u8; 26];
    for (i, digit) in out.iter_mut().enumerate() {
        let bits = if i == 25 {
            (value << 2) as usize
        } else {
            (value >> (123 - 5 * i)) as usize
        };
        *digit = ALPHABET[bits & 31];
    }
    out
}

/// The id behind a [`base32`] text.
pub fn base32_decode(text: &str) -> Option<[u8; 16]> {
    if text.len() != 26 {
        return None;
    }
    let mut value: u128 = 0;
    for (i, byte) in text.bytes().enumerate() {
        let digit = u128::from(match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'v' => byte - b'a' + 10,
            _ => return None,
        });
        value = if i == 25 {
            value << 3 | digit >> 2
        } else {
            value << 5 | digit
        };
        if i == 25 && digit & 3 != 0 {
            return None;
        }
    }
    Some(value.to_be_bytes())
}

/// Room for nearly all messages.
const SHORT: usize = 256;

/// One part with its length in LEB128, so that short messages stay in one block of SHA-256.
#[inline]
fn feed(message: &mut Vec<u8>, part: &[u8]) {
    let mut rest = part.len();
    while rest >= 0x80 {
        message.push((rest as u8 & 0x7f) | 0x80);
        rest >>= 7;
    }
    message.push(rest as u8);
    message.extend_from_slice(part);
}

/// 32 random bytes have about 30 different values, and fewer than 16 never; a counter has a constant step.
fn looks_random(bytes: &[u8; 32]) -> bool {
    let mut seen = [false; 256];
    bytes.iter().for_each(|b| seen[usize::from(*b)] = true);
    let distinct = seen.iter().filter(|s| **s).count();
    let mut steps = bytes.windows(2).map(|w| w[1].wrapping_sub(w[0]));
    let first = steps.next();
    distinct >= 16 && steps.any(|step| Some(step) != first)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn decode_hex(text: &[u8]) -> Option<[u8; 32]> {
    if text.len() != 64 {
        return None;
    }
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    let mut out = [0u8; 32];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

fn decode_base64(text: &[u8]) -> Option<[u8; 32]> {
    let digits = text.strip_suffix(b"=").unwrap_or(text);
    if digits.len() != 43 {
        return None;
    }
    let mut out = Vec::with_capacity(33);
    for group in digits.chunks(4) {
        let mut bits = 0u32;
        for c in group {
            let value = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    out.try_into().ok()
}

#[cfg(unix)]
fn readable_by_others(metadata: &Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
}

#[cfg(not(unix))]
fn readable_by_others(_: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::VaultError;
    use proptest::prelude::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    const HEX: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    const BASE64: &str = "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=";

    fn key() -> VaultKey {
        VaultKey::from_secret(HEX.as_bytes()).unwrap()
    }

    #[test]
    fn a_secret_has_three_forms() {
        let raw = decode_hex(HEX.as_bytes()).unwrap();
        let url_safe = BASE64.replace('+', "-").replace('/', "_");
        for form in [
            &raw[..],
            BASE64.as_bytes(),
            BASE64.trim_end_matches('=').as_bytes(),
            url_safe.as_bytes(),
        ] {
            assert_eq!(VaultKey::from_secret(form).unwrap().key_check(), key().key_check());
        }
        assert!(VaultKey::from_secret(format!("  {HEX}\n").as_bytes()).is_ok());
    }

    #[test]
    fn the_check_value_and_ids_are_those_of_hmac_sha_256() {
        // Computed with Python's hmac: hmac.new(key, b"kcv", sha256) and over 06 "domain" 01 "a" 00.
        assert_eq!(key().key_check(), "3351afa9");
        assert_eq!(
            hex(&key().hmac128("domain", &[b"a", b""])),
            "03c0ced27ce4be9150d461a2e7955d44"
        );
    }

    #[test]
    fn what_is_not_random_is_refused() {
        let counter: Vec<u8> = (0..32).collect();
        for (secret, error) in [
            (&b""[..], KeyError::Empty),
            (b" \n", KeyError::Empty),
            (b"password", KeyError::Format),
            (b"passwordpasswordpasswordpassword", KeyError::LowEntropy),
            (b"0123456789abcdef0123456789abcdef", KeyError::LowEntropy),
            (&[0u8; 32], KeyError::LowEntropy),
            (&counter, KeyError::LowEntropy),
            ("00".repeat(32).as_bytes(), KeyError::LowEntropy),
        ] {
            assert_eq!(VaultKey::from_secret(secret).unwrap_err(), error);
        }
    }

    #[test]
    fn a_key_file_is_private_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert!(matches!(VaultKey::read(&path), Err(VaultError::Key(KeyError::Missing))));
        let made = VaultKey::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(VaultKey::read(&path).unwrap().key_check(), made.key_check());
        assert!(matches!(
            VaultKey::create(&path),
            Err(VaultError::Key(KeyError::Exists))
        ));
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(
                VaultKey::read(&path),
                Err(VaultError::Key(KeyError::Readable))
            ));
        }
    }

    #[test]
    fn a_damaged_key_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        VaultKey::create(&path).unwrap();
        let good = fs::read(&path).unwrap();
        for i in 0..good.len() - 1 {
            let mut bad = good.clone();
            bad[i] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(VaultKey::read(&path).is_err(), "byte {i}");
        }
        fs::write(&path, b"").unwrap();
        assert!(matches!(VaultKey::read(&path), Err(VaultError::Key(KeyError::Empty))));
    }

    #[test]
    fn debug_tells_nothing() {
        assert_eq!(format!("{:?}", key()), "VaultKey([redacted])");
    }

    #[test]
    fn base32_is_rfc_4648() {
        // RFC 4648 section 10: BASE32-HEX("foobar") is CPNMUOJ1E8======.
        let mut id = [0u8; 16];
        id[..6].copy_from_slice(b"foobar");
        assert!(base32(&id).starts_with("cpnmuoj1e8"));
        assert_eq!(base32(&[0xff; 16]), format!("{}s", "v".repeat(25)));
        assert_eq!(base32_decode(&"v".repeat(26)), None, "bits after the id are zero");
        for text in ["", "A", "w", &"0".repeat(25), &"W".repeat(26)] {
            assert_eq!(base32_decode(text), None);
        }
    }

    proptest! {
        #[test]
        fn base32_keeps_order_and_comes_back(a: [u8; 16], b: [u8; 16]) {
            prop_assert_eq!(base32(&a).cmp(&base32(&b)), a.cmp(&b));
            prop_assert_eq!(base32_decode(&base32(&a)), Some(a));
        }

        #[test]
        fn parts_never_run_together(a in proptest::collection::vec(any::<Vec<u8>>(), 0..4),
                                    b in proptest::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let slices = |parts: &[Vec<u8>]| key().hmac128("d", &parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(slices(&a) == slices(&b), a == b);
        }
    }
}
